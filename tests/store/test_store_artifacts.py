"""Content-addressed files: whole or not there, verified, and never lost silently."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quantplay.digest import digest_of_bytes, digest_of_file
from quantplay.errors import InputError, IntegrityError, MissingDependency, OutOfSpace, ServiceUnavailable
from quantplay.store import artifacts
from quantplay.store.artifacts import ArtifactStore

DATA = bytes(range(256)) * 12_289  # just over 3 MiB: several chunks and a rest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.gguf"
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["folder", "file URL", "memory", "other filesystem"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    folder = tmp_path / "an ärtifact store"
    urls = {
        "folder": str(folder),
        "file URL": folder.as_uri(),
        "memory": f"memory://{tmp_path.name}",
        "other filesystem": f"local://{folder}",
    }
    return ArtifactStore(urls[request.param], pins=lambda sha256: ())


def everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_in_and_out(files: ArtifactStore, source: Path, tmp_path: Path) -> None:
    sha256 = digest_of_bytes(DATA)
    assert not files.exists(sha256)
    assert files.size(sha256) is None
    stored = files.put_file(source)
    assert stored == (sha256, len(DATA))
    assert files.put_file(source) == stored
    assert files.size(sha256) == len(DATA)
    files.verify(sha256)
    destination = tmp_path / "new" / "copy.gguf"
    assert files.get(sha256, destination) == destination
    assert files.get(sha256, destination).read_bytes() == DATA
    assert [path.name for path in destination.parent.iterdir()] == ["copy.gguf"]
    assert files.uri(sha256).endswith(f"/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}")
    assert files.delete(sha256)
    assert not files.delete(sha256)
    assert not files.exists(sha256)


def test_missing(files: ArtifactStore, tmp_path: Path) -> None:
    sha256 = digest_of_bytes(b"never stored")
    for attempt in (lambda: files.get(sha256, tmp_path / "copy"), lambda: files.verify(sha256)):
        with pytest.raises(IntegrityError, match=sha256):
            attempt()
    assert not (tmp_path / "copy").exists()


def test_an_empty_file(files: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    stored = files.put_file(tmp_path / "empty")
    assert stored.size_bytes == 0
    assert files.get(stored.sha256, tmp_path / "copy").read_bytes() == b""


@pytest.mark.parametrize("damage", ["a bit", "the end"])
def test_damage_is_noticed_named_and_healed(tmp_path: Path, source: Path, damage: str) -> None:
    files = ArtifactStore(str(tmp_path / "store"))
    sha256 = files.put_file(source).sha256
    path = files.local_path(sha256)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    path.chmod(0o644)
    path.write_bytes(DATA[:-1] + b"x" if damage == "a bit" else DATA[:1000])
    found = digest_of_file(path)
    destination = tmp_path / "copy"
    for attempt in (lambda: files.get(sha256, destination), lambda: files.verify(sha256)):
        with pytest.raises(IntegrityError) as caught:
            attempt()
        told = " ".join(str(argument) for argument in (caught.value.what, caught.value.value))
        assert str(path) in told
        assert sha256 in told
        assert found in told
    assert [name.name for name in tmp_path.iterdir() if "copy" in name.name] == []
    files.put_file(source)
    files.verify(sha256)


def test_damage_in_a_remote_store(tmp_path: Path, source: Path) -> None:
    import fsspec

    files = ArtifactStore(f"memory://damaged-{tmp_path.name}")
    sha256 = files.put_file(source).sha256
    with fsspec.open(files.uri(sha256), "wb") as file:
        file.write(DATA[:-1] + b"x")
    with pytest.raises(IntegrityError, match="damaged"):
        files.get(sha256, tmp_path / "copy")
    with pytest.raises(IntegrityError, match="damaged"):
        files.verify(sha256)
    assert not (tmp_path / "copy").exists()


def test_many_store_the_same_at_once(tmp_path: Path, source: Path) -> None:
    files = ArtifactStore(str(tmp_path / "store"))
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: files.put_file(source), range(12)))) == 1
    assert len(everything(tmp_path / "store")) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, source: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(artifacts.os, "fsync", fail)
    files = ArtifactStore(str(tmp_path / "store"))
    with pytest.raises((OutOfSpace, ServiceUnavailable)) as caught:
        files.put_file(source)
    assert isinstance(caught.value, OutOfSpace) == (number == errno.ENOSPC)
    assert caught.value.fix
    assert everything(tmp_path / "store") == []


def test_a_source_that_changes_meanwhile(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = artifacts.digest_of_file

    def then_change(path: Path) -> str:
        found = real(path)
        source.write_bytes(b"other")
        return found

    monkeypatch.setattr(artifacts, "digest_of_file", then_change)
    with pytest.raises(IntegrityError, match="changed while"):
        ArtifactStore(str(tmp_path / "store")).put_file(source)
    assert everything(tmp_path / "store") == []


def test_leftovers_of_killed_processes_go(tmp_path: Path, source: Path) -> None:
    waiting = tmp_path / "store" / "incoming"
    waiting.mkdir(parents=True)
    for name, age in (("old", 2 * artifacts.LEFTOVER_SECONDS), ("new", 0)):
        (waiting / name).touch()
        os.utime(waiting / name, (0, (waiting / name).stat().st_mtime - age))
    ArtifactStore(str(tmp_path / "store")).put_file(source)
    assert [path.name for path in waiting.iterdir()] == ["new"]


def test_deleting_needs_the_pins(tmp_path: Path, source: Path) -> None:
    files = ArtifactStore(str(tmp_path / "store"))
    stored = files.put_file(source)
    with pytest.raises(InputError, match="pinned"):
        files.delete(stored.sha256)
    with pytest.raises(InputError, match="release 1"):
        ArtifactStore(str(tmp_path / "store"), pins=lambda sha256: ("release 1",)).delete(stored.sha256)


def test_wrong_urls_digests_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="protocol"):
        ArtifactStore("nosuch://bucket/x")
    with pytest.raises(InputError, match="SHA-256"):
        ArtifactStore(str(tmp_path)).size("../../etc/passwd")
    with pytest.raises(InputError, match="can't be read"):
        ArtifactStore(str(tmp_path)).put_file(tmp_path / "none")
    with pytest.raises(InputError, match="can't be read"):
        ArtifactStore(str(tmp_path)).put_file(tmp_path)


def test_a_missing_driver_names_its_package() -> None:
    pytest.importorskip("fsspec")
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match="s3fs"):
            ArtifactStore("s3://bucket/prefix")
    else:
        pytest.skip("s3fs is installed")


def test_a_full_disk(small_disk: Path, source: Path, tmp_path: Path) -> None:
    files = ArtifactStore(str(small_disk / "store"))
    with pytest.raises(OutOfSpace, match="full") as caught:
        files.put_file(source)
    assert "free space" in (caught.value.fix or "")
    assert everything(small_disk) == []
    stored = ArtifactStore(str(tmp_path / "store")).put_file(source)
    with pytest.raises(OutOfSpace, match="full"):
        ArtifactStore(str(tmp_path / "store")).get(stored.sha256, small_disk / "copy")
    assert everything(small_disk) == []


def test_a_read_only_disk(small_disk: Path, source: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ServiceUnavailable, match="QUANTPLAY_ARTIFACTS_URL"):
        ArtifactStore(str(small_disk / "store")).put_file(source)
