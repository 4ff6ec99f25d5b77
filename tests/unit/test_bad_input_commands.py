"""Settings and arguments that can't be, as a user types them: the exit code, a message that helps, nothing written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import nothing_written
from plan_samples import write_sample
from typer.testing import CliRunner

HOME = "{tmp}/home"
PROCESSES = {"QUANTPLAY_HOME": HOME, "QUANTPLAY_THREADS": "1"}

# (name, settings, arguments, exit code, words of the message)
SETTINGS: list[tuple[str, dict[str, str], str, int, tuple[str, ...]]] = [
    ("threads that are a word", {"QUANTPLAY_THREADS": "many"}, "show", 2, ("QUANTPLAY_THREADS", "many", "from 1 to 1024")),
    ("no thread", {"QUANTPLAY_THREADS": "0"}, "show", 2, ("QUANTPLAY_THREADS", "from 1 to 1024")),
    ("a million threads", {"QUANTPLAY_THREADS": "1000000"}, "run {tmp}/plan.yaml", 2, ("QUANTPLAY_THREADS",)),
    ("half a thread", {"QUANTPLAY_THREADS": "0.5"}, "evaluate {tmp}/model {tmp}/gate.jsonl", 2, ("QUANTPLAY_THREADS",)),
    ("a home that is a file", {"QUANTPLAY_HOME": "{tmp}/gate.jsonl"}, "show", 2, ("QUANTPLAY_HOME can't be a folder", "set QUANTPLAY_HOME to another one")),
    ("a home below a file", {"QUANTPLAY_HOME": "{tmp}/gate.jsonl/home"}, "run {tmp}/plan.yaml", 2, ("QUANTPLAY_HOME can't be a folder",)),
    ("a home that is a device", {"QUANTPLAY_HOME": "/dev/null"}, "down", 2, ("QUANTPLAY_HOME can't be a folder",)),
    ("a home that is a link to nowhere", {"QUANTPLAY_HOME": "{tmp}/nowhere"}, "show", 2, ("QUANTPLAY_HOME can't be a folder",)),
    ("a home that can't be written", {"QUANTPLAY_HOME": "/proc/quantplay"}, "run {tmp}/plan.yaml", 2, ("can't be made", "/proc/quantplay", "set QUANTPLAY_HOME")),
    ("a home of an unknown user", {"QUANTPLAY_HOME": "~nobody-of-this-name/x"}, "show", 2, ("QUANTPLAY_HOME", "~nobody-of-this-name", "write the path out")),
    ("a home with an endless name", {"QUANTPLAY_HOME": "{tmp}/" + "x" * 300}, "run {tmp}/plan.yaml", 2, ("can't be made", "File name too long")),
    ("a cache that is a file", {"QUANTPLAY_CACHE": "{tmp}/gate.jsonl"}, "show", 2, ("QUANTPLAY_CACHE can't be a folder",)),
    ("artifacts by an unknown protocol", {"QUANTPLAY_ARTIFACTS_URL": "s4://bucket/x"}, "show", 2, ("QUANTPLAY_ARTIFACTS_URL names a protocol that is not known", "s4", "s3://bucket")),
    ("a database of another kind", {"QUANTPLAY_DATABASE_URL": "sqlite:///here.db"}, "show", 2, ("QUANTPLAY_DATABASE_URL", "sqlite", "PostgreSQL 14 or newer", "unset")),
    ("a database URL that is none", {"QUANTPLAY_DATABASE_URL": "the one in the cellar"}, "show", 2, ("is not a database URL", "postgresql://")),
    ("a database nobody answers for", {"QUANTPLAY_DATABASE_URL": "postgresql://ann:T0psecret@127.0.0.1:1/db"}, "show", 3, ("the database does not answer", "ann@127.0.0.1:1/db")),
    ("a database host nobody knows", {"QUANTPLAY_DATABASE_URL": "postgresql://ann:T0psecret@no-such-host.invalid/db"}, "show", 3, ("the database does not answer",)),
    ("a Prefect server that is not there", {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "run {tmp}/plan.yaml", 3, ("Prefect", "127.0.0.1:9")),
    ("a Prefect address that is none", {"PREFECT_API_URL": "nonsense"}, "run {tmp}/plan.yaml", 2, ("PREFECT_API_URL is not an address", "nonsense", "unset it")),
]  # fmt: skip

ARGUMENTS: list[tuple[str, dict[str, str], str, int, tuple[str, ...]]] = [
    ("no command of this name", {}, "chekc {tmp}/plan.yaml", 2, ("No such command 'chekc'", "check")),
    ("no option of this name", {}, "check {tmp}/plan.yaml --fast", 2, ("No such option", "--fast")),
    ("no plan", {}, "check", 2, ("Missing argument",)),
    ("two plans", {}, "check {tmp}/plan.yaml {tmp}/plan.yaml", 2, ("unexpected extra argument",)),
    ("no model", {}, "evaluate {tmp}/none {tmp}/gate.jsonl", 2, ("there is no such model", "safetensors")),
    ("a model that is a data set", {}, "evaluate {tmp}/gate.jsonl {tmp}/gate.jsonl", 2, ("this file is no model we can load", ".gguf")),
    ("a model without weights", {}, "evaluate {tmp}/empty {tmp}/gate.jsonl", 2, ("config.json is missing", "there are no weights", "the tokenizer is missing")),
    ("no set", {}, "evaluate {tmp}/model {tmp}/none.jsonl", 2, ("none.jsonl: there is no such file",)),
    ("a set that is a folder", {}, "evaluate {tmp}/model {tmp}/model", 2, ("it is a folder",)),
    ("an endless set", {}, "evaluate {tmp}/model /dev/zero", 2, ("it is a pipe or a device",)),
    ("a plan for a set", {}, "evaluate {tmp}/model {tmp}/plan.yaml", 2, ("unknown or unsupported key",)),
    ("a runtime that is none", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --runtime onnx", 2, ("unknown runtime", "vllm", "transformers, llama.cpp")),
    ("another runtime than the model's", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --runtime llama.cpp", 2, ("can't load this model", "transformers", "leave --runtime out")),
    ("no batch", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --batch 0", 2, ("'--batch'", "1")),
    ("a batch that is a word", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --batch all", 2, ("'--batch'", "integer")),
    ("an endless answer", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --max-tokens 99999999", 2, ("'--max-tokens'",)),
    ("speed of a folder", {}, "evaluate {tmp}/model {tmp}/gate.jsonl --speed", 2, ("speed is measured in the serving runtime", ".gguf")),
    ("no row", {}, "show --limit 0", 2, ("'--limit'",)),
    ("no package", {}, "verify {tmp}/none", 2, ("there is no package here", "quantplay show")),
    ("a package that is a plan", {}, "verify {tmp}/plan.yaml", 2, ("can't be read", "copy the package again")),
    ("a package that is a folder of something else", {}, "verify {tmp}/model", 2, ("this is a model and no package", "folder, or its .tar")),
    ("a folder that is a file", {}, "init {tmp}/gate.jsonl", 2, ("not overwritten", "name another folder")),
    ("a folder that can't be made", {}, "init /proc/quantplay", 2, ("can't be written", "/proc/quantplay")),
    ("a plan that is there", {}, "init {tmp}", 2, ("not overwritten", "plan.yaml")),
]  # fmt: skip


def in_a_process(arguments: list[str], chosen: dict[str, str], folder: Path) -> tuple[int, str]:
    """Exit code, and all that is shown."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "quantplay.cli", *arguments], capture_output=True, text=True, env=inherited | chosen,
        cwd=folder, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def in_this_process(arguments: list[str], chosen: dict[str, str], folder: Path) -> tuple[int, str]:
    from quantplay.cli.app import app
    from quantplay.cli.console import console, errors_console
    from quantplay.settings import settings

    left_out = {name: None for name in os.environ if name.startswith(("QUANTPLAY_", "PREFECT_"))}
    cached = (settings, console, errors_console)
    for one in cached:
        one.cache_clear()
    try:
        done = CliRunner().invoke(app, arguments, env=left_out | chosen)
    finally:
        for one in cached:
            one.cache_clear()
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("name", "settings", "arguments", "code", "words"),
    [*SETTINGS, *ARGUMENTS],
    ids=[row[0] for row in (*SETTINGS, *ARGUMENTS)],
)
def test_bad_settings_and_arguments(
    tmp_path: Path, name: str, settings: dict[str, str], arguments: str, code: int, words: tuple[str, ...]
) -> None:
    write_sample(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "nowhere").symlink_to("not-there")
    chosen = {key: value.format(tmp=tmp_path) for key, value in (PROCESSES | settings).items()}
    words_typed = [part.format(tmp=tmp_path) for part in arguments.split()]
    with nothing_written(tmp_path):
        # A run changes the environment of its process, so it gets one of its own.
        answered, shown = (in_a_process if words_typed[0] == "run" else in_this_process)(words_typed, chosen, tmp_path)
    shown = re.sub(r"[\s│╭╮╰╯─]+", " ", shown)
    assert answered == code, shown
    assert "Traceback" not in shown
    assert "inside quantplay" not in shown
    assert "T0psecret" not in shown
    for word in words:
        assert "".join(word.split()) in "".join(shown.split()), shown  # a long word may be folded


def test_a_crash_while_the_settings_are_bad_is_still_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quantplay.cli.failures import crash_file
    from quantplay.settings import settings

    monkeypatch.setenv("QUANTPLAY_THREADS", "many")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings.cache_clear()
    try:
        assert Path(crash_file(ZeroDivisionError(), "test")).is_file()
    finally:
        settings.cache_clear()
