"""Writing packages: complete, the same bytes for the same contents, never half-written, never overwritten."""

from __future__ import annotations

import errno
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from factories import made_package

from quantplay.digest import digest_of_file
from quantplay.errors import IntegrityError, OutOfSpace
from quantplay.handoff import layout, pack
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.items_file import read_items_file
from quantplay.handoff.manifest import PackageManifest, read_manifest
from quantplay.handoff.opened import OpenPackage, open_package
from quantplay.handoff.pack import write_package
from quantplay.records import Manifest


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_package(tmp_path_factory.mktemp("run"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_package_holds_every_file_the_readme_lists(contents: PackageContents, tmp_path: Path) -> None:
    ref = write_package(contents, tmp_path / "package")
    folder = Path(ref.path)
    for name in layout.PURPOSE.keys() - layout.SOMETIMES:  # this run checked no set, updates none, and passed at once
        path = folder / name
        assert any(path.iterdir()) if name.endswith("/") else path.stat().st_size > 0
        assert f"`{name}`" in (folder / "README.md").read_text()
    assert ref.manifest == digest_of_file(folder / "manifest.json")
    assert ref.archive == f"{folder}.tar"
    listed = {file["path"]: file["sha256"] for file in json.loads((folder / "manifest.json").read_bytes())["files"]}
    present = {name: digest_of_file(folder / name) for name in files_of(folder) if name != "manifest.json"}
    assert listed == present
    assert ref.size_bytes == sum((folder / name).stat().st_size for name in present)


def test_equal_contents_give_equal_bytes(contents: PackageContents, tmp_path: Path) -> None:
    one, other = (write_package(contents, tmp_path / name / "package") for name in ("a", "b"))
    assert files_of(Path(one.path)) == files_of(Path(other.path))
    assert Path(str(one.archive)).read_bytes() == Path(str(other.archive)).read_bytes()


def test_times_are_in_run_json_alone(contents: PackageContents, tmp_path: Path) -> None:
    later = replace(contents, locked_at="2027-01-01T00:00:00+00:00", seconds={"baseline": 1.0})
    one, other = (files_of(Path(write_package(c, tmp_path / n).path)) for c, n in ((contents, "a"), (later, "b")))
    assert {name for name in one if one[name] != other[name]} == {"run.json", "manifest.json"}


def test_a_package_read_back_is_written_again_as_it_was(contents: PackageContents, tmp_path: Path) -> None:
    """Nothing is lost on the way, and no byte depends on the order of a mapping."""
    folder = Path(write_package(contents, tmp_path / "a" / "package").path)
    manifest = read_manifest(folder)
    assert isinstance(manifest, PackageManifest)
    package = open_package(folder, manifest)
    assert isinstance(package, OpenPackage)
    again = write_package(package.contents(), tmp_path / "b" / "package")
    assert files_of(Path(again.path)) == files_of(folder)


def test_the_archive_depends_on_nothing_but_the_files(contents: PackageContents, tmp_path: Path) -> None:
    ref = write_package(contents, tmp_path / "package")
    with tarfile.open(str(ref.archive)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}


def test_items_come_back_as_they_were(contents: PackageContents, tmp_path: Path) -> None:
    ref = write_package(contents, tmp_path / "package")
    read = read_items_file(Path(ref.path) / "items.parquet")
    assert read.items["source"] == contents.baseline.source.items
    assert read.items["reference"] == contents.baseline.reference.items
    assert read.items["candidate"] == contents.evaluation.candidate.items
    assert read.hardest == set(contents.baseline.hardest)
    assert {key: (q.prompt, q.answer) for key, q in contents.questions.items()} == read.asked


def test_the_baseline_file_is_small_enough_for_version_control(contents: PackageContents, tmp_path: Path) -> None:
    path = Path(write_package(contents, tmp_path / "package").path) / "baseline.json"
    body = json.loads(path.read_bytes())
    assert path.stat().st_size < 32 * 1024
    assert body["record"]["source"]["items"] == []
    assert body["scores"]["source"]["multi_step"]["items"] == 120
    assert body["digest"] == contents.baseline.digest()


def test_writing_the_same_package_again_changes_nothing(contents: PackageContents, tmp_path: Path) -> None:
    first = write_package(contents, tmp_path / "package")
    inode = (tmp_path / "package").stat().st_ino
    Path(str(first.archive)).unlink()  # as after a crash between the two renames
    assert write_package(contents, tmp_path / "package") == first
    assert (tmp_path / "package").stat().st_ino == inode
    assert Path(str(first.archive)).is_file()


def test_a_lock_done_again_later_finds_the_first_package(contents: PackageContents, tmp_path: Path) -> None:
    """As after a crash before the package was recorded: another run, another time, the same result."""
    first = write_package(contents, tmp_path / "package")
    before = files_of(tmp_path)
    again = replace(contents, run="another", locked_at="2027-01-01T00:00:00+00:00", seconds={})
    assert write_package(again, tmp_path / "package") == first
    assert files_of(tmp_path) == before


def test_another_package_is_never_overwritten(contents: PackageContents, tmp_path: Path) -> None:
    write_package(contents, tmp_path / "package")
    before = files_of(tmp_path)
    with pytest.raises(IntegrityError, match="never overwritten"):
        write_package(replace(contents, environment=("numpy==0.0.1",)), tmp_path / "package")
    assert files_of(tmp_path) == before
    (tmp_path / "package" / "recipe.json").write_text("{}")
    with pytest.raises(IntegrityError, match="never overwritten"):
        write_package(contents, tmp_path / "package")


@pytest.mark.parametrize("step", ["write_items", "copy_sources", "write_tar", "flush_tree", "render_readme"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind(
    contents: PackageContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pack, step, fail)
    with pytest.raises(OutOfSpace if isinstance(error, OSError) else KeyboardInterrupt):
        write_package(contents, tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_artifact_or_source_is_refused(contents: PackageContents, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.write_bytes(b"something else")
    sources = {**contents.sources, "heldout": {"heldout.jsonl": changed}}
    for wrong in (
        replace(contents, artifact_file=changed),
        replace(contents, artifact_file=tmp_path / "gone"),
        replace(contents, sources=sources),
    ):
        with pytest.raises(IntegrityError):
            write_package(wrong, tmp_path / "out" / "package")
    assert list((tmp_path / "out").iterdir()) == []


def test_records_of_different_runs_are_refused(contents: PackageContents, tmp_path: Path) -> None:
    other = contents.evaluation.model_copy(update={"artifact": "0" * 64, "baseline": "1" * 64})
    with pytest.raises(IntegrityError, match="another artifact") as caught:
        write_package(replace(contents, evaluation=other), tmp_path / "package")
    assert len(caught.value.faults) == 2


def test_a_large_model_stays_out(contents: PackageContents, tmp_path: Path) -> None:
    model = contents.inputs.model
    large = model.files[0].model_copy(update={"size_bytes": 65 << 20})
    inputs = contents.inputs.model_copy(update={"model": Manifest.of("model", model.source, (large, *model.files[1:]))})
    assert inputs.model.content == model.content  # sizes are not part of the identity
    folder = Path(write_package(replace(contents, inputs=inputs), tmp_path / "package").path)
    assert not (folder / "sources").exists()
    assert "too large to travel" in (folder / "README.md").read_text()


def test_a_package_can_be_moved(contents: PackageContents, tmp_path: Path) -> None:
    folder = Path(write_package(contents, tmp_path / "package").path)
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md", ".html", ".yaml", ".txt"):
            assert str(tmp_path) not in path.read_text(), path
    shutil.move(folder, tmp_path / "a new place")
