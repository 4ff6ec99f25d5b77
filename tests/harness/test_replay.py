"""Replay: the artifact again from a package, and what it says when other bytes come out. The pilot, really quantized."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from rich.console import Console

from benchmarks.replay_package import made_contents, with_artifact
from quantplay.cli.replay import replay_parts
from quantplay.digest import digest_of_file
from quantplay.errors import InputError, IntegrityError, MissingDependency
from quantplay.handoff import contents as handoff_contents
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.layout import json_bytes
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.pack import write_package
from quantplay.handoff.replay import ReplayReport, replay
from quantplay.quantizers.gguf import read_tensors
from quantplay.settings import Settings, settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_contents(tmp_path_factory.mktemp("made"), settings().cache)


@pytest.fixture(scope="module")
def package(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without its artifact."""
    folder = Path(write_package(contents, tmp_path_factory.mktemp("packed") / "package").path)
    next((folder / "artifact").iterdir()).unlink()
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    """A home with nothing in it; the converter's sources are in the cache."""
    home = tmp_path / "home"
    return replace(settings(), home=home, artifacts_url=(home / "artifacts").as_uri(), database_url=None)


def test_the_same_bytes_come_out_of_an_empty_home(
    package: Path, contents: PackageContents, empty: Settings, tmp_path: Path
) -> None:
    before = sorted(path for path in package.rglob("*"))
    out = tmp_path / "kept.gguf"
    report = replay(package, empty, out=out)
    assert report.identical
    assert report.made == contents.artifact.sha256 == digest_of_file(out)
    assert [step.same for step in report.steps] == [True, True]
    assert report.stack == ()
    assert report.types == ()
    assert report.files is None
    assert not [path for path in empty.home.rglob("*") if path.is_file()]
    assert sorted(path for path in package.rglob("*")) == before


@pytest.fixture
def large(contents: PackageContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that does not carry its sources, because its model counts as large."""
    monkeypatch.setattr(handoff_contents, "CARRIED_MODEL_BYTES", 0)
    folder = Path(write_package(contents, tmp_path / "large").path)
    monkeypatch.undo()
    # Written by another version, so that its texts are not held to what this one says of a model of this size.
    run = json.loads((folder / "run.json").read_bytes())
    (folder / "run.json").write_bytes(json_bytes(run | {"quantplay": "0.0.1"}))
    (folder / "manifest.json").write_bytes(manifest_of(folder, contents.run).to_bytes())
    return folder


def test_a_large_models_sources_are_named_and_checked_by_digest(
    package: Path, large: Path, empty: Settings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="does not carry its sources"):
        replay(large, empty)
    with pytest.raises(IntegrityError) as missing:
        replay(large, empty, sources=tmp_path)
    assert "calibration/calibration.jsonl" in {fault.where for fault in missing.value.faults}
    elsewhere = Path(shutil.copytree(package / "sources", tmp_path / "elsewhere"))
    (elsewhere / "calibration" / "calibration.jsonl").write_text("{}")
    with pytest.raises(IntegrityError) as other:
        replay(large, empty, sources=elsewhere)
    assert [fault.where for fault in other.value.faults] == ["calibration/calibration.jsonl"]


def test_what_lies_beside_the_pinned_files_plays_no_part(
    package: Path, large: Path, empty: Settings, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copytree(package / "sources", tmp_path / "elsewhere"))
    ran = tmp_path / "ran"
    for name in ("modeling_evil.py", "tokenization_llama.py", "sitecustomize.py"):
        (elsewhere / "model" / name).write_text(f"open({str(ran)!r}, 'w')")
    (elsewhere / "model" / "special_tokens_map.json").write_text("[]")
    (elsewhere / "model" / "adapter_config.json").write_text("{}")
    assert replay(large, empty, sources=elsewhere).identical
    assert not ran.exists()


def test_a_changed_package_is_not_replayed(package: Path, empty: Settings, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(package, tmp_path / "damaged"))
    with (damaged / "sources" / "model" / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(IntegrityError, match="does not verify") as refused:
        replay(damaged, empty)
    assert {fault.where for fault in refused.value.faults} == {"sources/model/config.json"}


def test_nothing_is_overwritten(package: Path, empty: Settings, tmp_path: Path) -> None:
    (tmp_path / "there.gguf").write_text("x")
    with pytest.raises(InputError, match="a file already"):
        replay(package, empty, out=tmp_path / "there.gguf")
    assert (tmp_path / "there.gguf").read_text() == "x"


def test_without_converter_and_network_it_names_the_command_to_fetch_it(
    package: Path, empty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(MissingDependency, match="can't be downloaded") as refused:
        replay(package, replace(empty, cache=tmp_path / "cache"))
    assert "pip download" in str(refused.value.fix)
    assert str(tmp_path / "cache" / "sdist") in str(refused.value.fix)


def test_other_bytes_are_named_tensor_by_tensor_with_how_far_they_are(
    contents: PackageContents, empty: Settings, tmp_path: Path
) -> None:
    """One block of one tensor of the recorded file is another: the package is consistent, only a replay can tell."""
    file = tmp_path / "other.gguf"
    shutil.copyfile(contents.artifact_file, file)
    name = "blk.1.ffn_up.weight"
    tensor = next(one for one in gguf.GGUFReader(file).tensors if one.name == name)
    with file.open("r+b") as stream:
        stream.seek(int(tensor.data_offset) + 20)
        stream.write(bytes(100))
    artifact = contents.artifact.model_copy(update={"sha256": digest_of_file(file)})
    other = with_artifact(contents, artifact, file)
    path = Path(str(write_package(other, tmp_path / "other").archive))
    report = replay(path, empty)
    assert not report.identical
    assert report.made == contents.artifact.sha256
    assert [step.same for step in report.steps] == [True, True]
    assert report.files is not None
    assert [one.name for one in report.files.tensors] == [name]
    assert report.files.compared == len(read_tensors(file))
    changed = report.files.tensors[0].changed
    assert changed is not None
    assert 0 < changed < 0.01
    assert report.files.metadata == ()
    shown = shown_text(report)
    assert name in shown
    assert "Other bytes than the recorded artifact" in shown
    assert f"{'within' if report.files.within_tolerance else 'outside'} the tolerance" in shown


def test_the_command_line_says_so_and_ends_with_its_code(
    package: Path, contents: PackageContents, tmp_path: Path
) -> None:
    environment = {**os.environ, "QUANTPLAY_HOME": str(tmp_path / "home"), "QUANTPLAY_CACHE": str(settings().cache)}
    command = [sys.executable, "-m", "quantplay.cli", "replay", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "The same bytes."
    assert contents.artifact.sha256 in done.stdout
    assert not (tmp_path / "home" / "postgres").exists()


def shown_text(report: ReplayReport) -> str:
    console = Console(file=io.StringIO(), width=160)
    for part in replay_parts(report):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]
