"""The artifact store on a real S3 server: what a local folder promises holds there too, and every failure says what it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from quantplay.digest import digest_of_bytes, digest_of_file
from quantplay.errors import InputError, IntegrityError
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store

pytestmark = pytest.mark.slow
URL = f"s3://{BUCKET}/quantplay"
PART = 50 * 2**20  # s3fs sends a larger file in parts of this size


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.env.items():
            patch.setenv(name, value)
        yield there


@pytest.fixture(scope="module")
def artifacts(s3: S3Server) -> ArtifactStore:
    return ArtifactStore(URL, pins=lambda sha256: ())


def file_of(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def key_of(sha256: str) -> str:
    return f"{BUCKET}/quantplay/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def test_what_was_put_is_there_whole_and_verified(artifacts: ArtifactStore, tmp_path: Path) -> None:
    content = os.urandom(4096)
    assert not artifacts.exists(digest_of_bytes(content))
    stored = artifacts.put_file(file_of(tmp_path, content))
    assert stored == (digest_of_bytes(content), 4096)
    assert artifacts.put_file(file_of(tmp_path, content)) == stored
    assert artifacts.size(stored.sha256) == 4096
    artifacts.verify(stored.sha256)
    assert artifacts.get(stored.sha256, tmp_path / "deep" / "copy").read_bytes() == content
    assert artifacts.local_path(stored.sha256) is None
    assert artifacts.uri(stored.sha256) == f"s3://{key_of(stored.sha256)}"
    assert artifacts.delete(stored.sha256)
    assert not artifacts.delete(stored.sha256)
    assert not artifacts.exists(stored.sha256)


def test_a_large_file_goes_in_parts_and_comes_back_the_same(artifacts: ArtifactStore, tmp_path: Path) -> None:
    path = file_of(tmp_path, os.urandom(1 << 20) * 60)
    assert path.stat().st_size > PART
    stored = artifacts.put_file(path)
    assert digest_of_file(artifacts.get(stored.sha256, tmp_path / "copy")) == stored.sha256


def test_a_truncated_object_is_found_and_replaced(artifacts: ArtifactStore, tmp_path: Path) -> None:
    import s3fs

    path = file_of(tmp_path, os.urandom(4096))
    sha256 = artifacts.put_file(path).sha256
    s3fs.S3FileSystem().pipe_file(key_of(sha256), path.read_bytes()[:1000])
    with pytest.raises(IntegrityError, match="damaged"):
        artifacts.verify(sha256)
    with pytest.raises(IntegrityError, match="damaged"):
        artifacts.get(sha256, tmp_path / "copy")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"], "nothing half-read stays"
    artifacts.put_file(path)
    artifacts.verify(sha256)


@pytest.mark.skipif(sys.platform != "linux", reason="counts what a process reads by /proc")
def test_an_upload_that_is_killed_leaves_no_object(artifacts: ArtifactStore, s3: S3Server, tmp_path: Path) -> None:
    path = file_of(tmp_path, os.urandom(1 << 20) * 60)
    sha256 = digest_of_file(path)
    code = f"from quantplay.store.artifacts import *\nArtifactStore({URL!r}).put_file(Path({str(path)!r}))"
    upload = subprocess.Popen([sys.executable, "-c", code], env=os.environ | s3.env)
    deadline = time.monotonic() + 60
    while bytes_read(upload.pid) < path.stat().st_size + PART:  # read once for its digest, and now to be sent
        assert upload.poll() is None, "the upload was over before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    upload.send_signal(signal.SIGKILL)
    upload.wait()
    assert not artifacts.exists(sha256)
    artifacts.put_file(path)
    artifacts.verify(sha256)


def bytes_read(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def test_what_the_database_pins_is_not_deleted(s3: S3Server, store: Store, tmp_path: Path) -> None:
    artifacts = ArtifactStore(URL, pins=store.pins_of)
    sha256 = artifacts.put_file(file_of(tmp_path, b"weights")).sha256
    store.pin(sha256, "the rollback path")
    with pytest.raises(InputError, match="rollback path"):
        artifacts.delete(sha256)
    artifacts.verify(sha256)


def attempt(path: Path, url: str, environment: dict[str, str | None]) -> str:
    """What a process with this environment is told when it stores `path`."""
    code = (
        "import sys; from pathlib import Path; from quantplay.errors import QuantplayError\n"
        "from quantplay.store.artifacts import ArtifactStore\n"
        "try: print(ArtifactStore(sys.argv[1]).put_file(Path(sys.argv[2])))\n"
        "except QuantplayError as error: print(type(error).__name__, error)\n"
    )
    env = {key: value for key, value in (os.environ | environment).items() if value is not None}
    done = subprocess.run([sys.executable, "-c", code, url, str(path)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_failure_says_what_it_is(s3: S3Server, tmp_path: Path) -> None:
    path = file_of(tmp_path, b"weights of another model")
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    home = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}

    with ThreadPoolExecutor() as pool:  # most of it is starting and waiting
        missing, anonymous, away = pool.map(
            lambda case: attempt(path, *case),
            [
                ("s3://no-such-bucket/x", {}),
                (URL, none | home),
                (URL, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}),
            ],
        )
    assert missing.startswith("InputError the artifact store's bucket or folder does not exist")
    assert "QUANTPLAY_ARTIFACTS_URL" in missing
    assert b"no-such-bucket" not in s3.ask("/"), "a bucket with a misspelt name is not made"
    assert anonymous.startswith("InputError there are no credentials for the artifact store")
    assert "AWS_ACCESS_KEY_ID" in anonymous
    assert away.startswith("ServiceUnavailable the artifact store does not answer")

    s3.check_credentials(True)
    try:
        wrong = attempt(path, URL, {})
    finally:
        s3.check_credentials(False)
    assert wrong.startswith("ServiceUnavailable the artifact store can't")
    assert "a-secret" not in wrong
