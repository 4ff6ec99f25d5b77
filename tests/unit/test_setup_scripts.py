"""infra/setup: what `make setup` decides and says. The install itself runs before this test can."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "infra" / "setup"
sys.path.insert(0, str(SETUP))

import commands  # noqa: E402
import environment  # noqa: E402
import llama_wheel  # noqa: E402
import lock  # noqa: E402

PARTS = llama_wheel.made_of()


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# --- the wheel and its key


@pytest.mark.parametrize("name", sorted(PARTS))
def test_whatever_a_wheel_depends_on_changes_its_key(name: str) -> None:
    assert llama_wheel.key_of(PARTS | {name: "something else"}) != llama_wheel.key_of(PARTS)


def test_the_key_is_the_same_every_time_and_knows_this_cpu() -> None:
    assert llama_wheel.key_of(llama_wheel.made_of()) == llama_wheel.key_of(PARTS)
    assert len(llama_wheel.cpu_features()) > 0


def test_the_pinned_sources_are_those_of_pyproject_and_of_the_converter() -> None:
    from quantplay.engines.converter import PINS

    assert f'"llama-cpp-python=={llama_wheel.VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert PINS[llama_wheel.VERSION].sdist == llama_wheel.SDIST_SHA256


def test_only_a_complete_and_undamaged_wheel_is_used(tmp_path: Path) -> None:
    assert llama_wheel.wheel_in(tmp_path) is None
    wheel = tmp_path / "llama_cpp_python-0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    assert llama_wheel.wheel_in(tmp_path) is None
    note = f'{{"wheel": "{wheel.name}", "wheel_sha256": "{llama_wheel.sha256_of(wheel)}"}}'
    (tmp_path / "made-of.json").write_text(note, encoding="utf-8")
    assert llama_wheel.wheel_in(tmp_path) == wheel
    wheel.write_bytes(b"whee")
    assert llama_wheel.wheel_in(tmp_path) is None


def test_the_builds_lines_become_a_few_words() -> None:
    progress = llama_wheel.compile_progress()
    assert progress("  [57/83] Building CXX object ggml/src/quants.c.o\n") == "compiling llama.cpp, 57 of 83 steps"
    assert progress("  *** Configuring CMake...\n") == "configuring the build"
    assert progress("anything else\n") is None


# --- commands


def test_a_command_is_logged_and_its_progress_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "BEAT_SECONDS", 0.05)
    log = tmp_path / "a folder" / "log"
    log.parent.mkdir()
    code = "import time; time.sleep(0.3); print('one', flush=True); time.sleep(0.3); print('two', flush=True); time.sleep(0.3)"
    commands.run_logged(child(code), what="Counting", log=log, progress=lambda line: f"at {line.strip()}")
    assert "one\ntwo\n" in log.read_text(encoding="utf-8")
    shown = capsys.readouterr().out
    assert re.search(r"\d s: Counting\n", shown)
    assert re.search(r"\d s: at two\n", shown)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "Retrying after connection broken by NewConnectionError('...: [Errno -2] Name or service not known')",
            "Check the network",
        ),
        ("OSError: [Errno 28] No space left on device", "no space left"),
        ("ERROR: No matching distribution found for torch==2.13.0", "has no torch==2.13.0"),
        ("CMake Error at CMakeLists.txt:3", "the compiler stopped"),
        ("Traceback: something odd", "the whole output is in"),
    ],
)
def test_a_failed_command_ends_with_one_line_that_says_what_to_do(tmp_path: Path, output: str, expected: str) -> None:
    code = f"import sys; print({output!r}); sys.exit(1)"
    with pytest.raises(commands.SetupError) as raised:
        commands.run_logged(child(code), what="Installing", log=tmp_path / "log", progress=lambda line: None)
    text = str(raised.value)
    assert text.startswith("Installing failed")
    assert expected in text
    assert "\n" not in text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (307, "5 min 07 s")])
def test_elapsed(seconds: float, text: str) -> None:
    assert commands.elapsed(seconds) == text


def test_the_second_of_two_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lock"
    held = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(0.5)"
    with subprocess.Popen([*child(held), str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        started = time.monotonic()
        with llama_wheel.only_one(path, "waiting for the other"):
            assert time.monotonic() - started > 0.2
    assert "waiting for the other" in capsys.readouterr().out


# --- the lock


def test_a_pin_has_a_normal_name_and_no_local_version() -> None:
    assert lock.pin({"name": "Torch", "version": "2.13.0+cpu"}) == "torch==2.13.0"
    assert lock.pin({"name": "ruamel.yaml_clib", "version": "0.2"}) == "ruamel-yaml-clib==0.2"


def test_the_lock_is_made_from_all_that_pyproject_asks_for() -> None:
    wanted = lock.requirements(ROOT / "pyproject.toml")
    assert "torch==2.13.0" in wanted
    assert any(line.startswith("pytest") for line in wanted)


def test_what_only_an_older_python_needs_is_found() -> None:
    packages = [
        {"name": "A_a", "version": "1", "requires_dist": ["c; extra == 'more'", "d; python_full_version < '3.11.3'"]},
        {"name": "b", "version": "1", "requires_dist": ["a-a[more]", "e; python_version < '3'"]},
    ]
    assert set(lock.missing(["b"], packages, "3.11.0")) == {"c", "d"}
    assert set(lock.missing(["b"], packages, "3.12.0")) == {"c"}
    assert set(lock.missing(["a-a"], packages, "3.12.0")) == set()


def test_it_is_written_with_its_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    a = {"name": "a", "version": "1.0+cpu", "requires_dist": ["d>=2; python_full_version < '3.11.3'"]}
    d = {"name": "d", "version": "2.1", "requires_dist": []}
    monkeypatch.setattr(lock, "resolve", lambda wanted: [a, d] if "d>=2" in wanted else [a])
    assert lock.resolve_for_all(["a"]) == {"a": "a==1.0", "d": 'd==2.1; python_full_version < "3.11.3"'}


# --- the scripts as make starts them


def fake_python(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    script.chmod(0o755)


def find_python(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, str(SETUP / "python.sh")], capture_output=True, text=True, env={"PATH": str(path), **env}
    )


def test_the_first_python_that_fits_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "a bin"
    fake_python(folder, "python3.11", "3.10")  # a shim may lie
    fake_python(folder, "python3.12", "3.12")
    fake_python(folder, "python3", "3.11")
    assert find_python(folder).stdout.strip() == str(folder / "python3.12")
    assert find_python(folder, PYTHON=str(folder / "python3")).stdout.strip() == str(folder / "python3")


def test_no_python_that_fits_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    fake_python(folder, "python3", "3.9")
    answer = find_python(folder)
    assert answer.returncode == 3
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert "found python3 is 3.9" in answer.stderr
    assert "apt-get install python3.11" in answer.stderr
    assert "found none" in find_python(tmp_path / "empty").stderr


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in a folder with a space in its name, as set-up sees it; the commands it would run are only noted."""
    folder = tmp_path / "quant play"
    for name in ("quantplay/__init__.py", "pyproject.toml", "requirements.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    venv = folder / ".venv"
    places = {
        "ROOT": folder,
        "VENV": venv,
        "PYTHON": venv / "bin" / "python",
        "STAMP": venv / "quantplay-setup.json",
        "UNFINISHED": venv / "quantplay-setup-unfinished",
        "LOG": venv / "quantplay-setup.log",
        "LOCK": folder / "requirements.lock",
    }
    for name, place in places.items():
        monkeypatch.setattr(environment, name, place)
    monkeypatch.setattr(environment, "cache_folder", lambda: tmp_path / "cache")
    return folder


@pytest.fixture
def ran(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each command of set-up was for; making the environment makes its Python."""
    seen: list[str] = []

    def note(command: Sequence[object], *, what: str, **_: object) -> None:
        seen.append(what)
        if "venv" in command:
            environment.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            environment.PYTHON.touch()
            (environment.VENV / "lib" / "python3.11" / "site-packages" / "pip").mkdir(parents=True)

    monkeypatch.setattr(environment, "run_logged", note)
    monkeypatch.setattr(environment, "ensure_wheel", lambda cache, python, log: cache / "llama.whl")
    return seen


def test_the_second_set_up_does_nothing(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.main() == 0
    assert [what.split()[0] for what in ran] == ["Making", "Installing", "Installing", "Checking", "Loading"]
    ran.clear()
    capsys.readouterr()
    assert environment.main() == 0
    assert ran == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["requirements.lock", "pyproject.toml", "quantplay/__init__.py", "newpackage/__init__.py"]
)
def test_a_change_is_installed_over_what_is_there(name: str, ran: list[str], checkout: Path) -> None:
    environment.set_up()
    ran.clear()
    (checkout / name).parent.mkdir(exist_ok=True)
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    environment.set_up()
    assert [what.split()[0] for what in ran] == ["Installing", "Installing", "Checking", "Loading"]


def test_a_wheel_for_another_cpu_is_replaced(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment.set_up()
    ran.clear()
    monkeypatch.setattr(environment, "key_of", lambda parts: "another")
    environment.set_up()
    assert "Installing the llama-cpp-python wheel" in ran


def test_an_interrupted_install_is_done_again_from_nothing(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(environment, "install", interrupted)
        assert environment.main() == 130
    assert not environment.STAMP.exists()
    half = environment.VENV / "half"
    half.touch()
    assert environment.main() == 0
    assert not half.exists()
    assert ran.count(ran[0]) == 2
    assert "unfinished: making it anew" in capsys.readouterr().out


def interrupted(wheel: Path, *, again: bool) -> None:
    raise KeyboardInterrupt


def test_a_moved_checkout_gets_a_new_environment(ran: list[str]) -> None:
    environment.set_up()
    text = environment.STAMP.read_text(encoding="utf-8")
    environment.STAMP.write_text(text.replace("quant play", "elsewhere"), encoding="utf-8")
    ran.clear()
    environment.set_up()
    assert ran[0].startswith("Making a virtual environment")


def test_an_environment_made_by_hand_is_kept(ran: list[str]) -> None:
    note = environment.VENV / "made-by-hand"
    environment.run_logged(["-m", "venv"], what="by hand", log=environment.LOG, progress=lambda line: None)
    note.touch()
    environment.set_up()
    assert note.exists()
    assert environment.ready()


def test_without_a_compiler_set_up_says_what_to_install_and_leaves_no_stamp(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "ensure_wheel", llama_wheel.ensure_wheel)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert environment.main() == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "set-up: no C compiler" in error
    assert "apt-get install gcc" in error
    assert not environment.ready()


def test_a_cache_that_may_not_be_written_is_named(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(cache: Path, python: Path, log: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(cache))

    monkeypatch.setattr(environment, "ensure_wheel", refused)
    assert environment.main() == 3
    assert "QUANTPLAY_CACHE" in capsys.readouterr().err


def test_sources_of_other_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def downloads_something_else(command: list[object], **_: object) -> None:
        folder = Path(str(command[command.index("--dest") + 1]))
        (folder / llama_wheel.SDIST).write_bytes(b"not the sources")

    monkeypatch.setattr(llama_wheel, "run_logged", downloads_something_else)
    with pytest.raises(commands.SetupError, match="is not the file this project was made with"):
        llama_wheel.ensure_sdist(tmp_path, Path(sys.executable), tmp_path / "log")
    assert list((tmp_path / "sdist").iterdir()) == []
