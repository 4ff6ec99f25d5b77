"""Files by their SHA-256, `sha256/ab/cd/abcd...`, in a local folder or under any fsspec URL.

A file is written under a temporary name, synced and renamed: it is there whole or not at all. It is verified when it is
read. Object stores (S3 and the like) show an object only when it is complete, so there it is written directly.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from quantplay.address import redacted
from quantplay.digest import CHUNK, digest_of_file, is_digest
from quantplay.errors import InputError, IntegrityError, MissingDependency, OutOfSpace, ServiceUnavailable

ATOMIC_PROTOCOLS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}
LEFTOVER_SECONDS = 24 * 3600
FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class Stored(NamedTuple):
    """What `put_file` stored."""

    sha256: str
    size_bytes: int


class StoredFile(NamedTuple):
    """A file that lies in the store."""

    sha256: str
    size_bytes: int
    modified: datetime  # UTC


class ArtifactStore:
    """Content-addressed files. `pins(sha256)` gives the reasons why a file may not be deleted."""

    def __init__(self, url: str, pins: Callable[[str], tuple[str, ...]] | None = None) -> None:
        self.url = redacted(url.rstrip("/"))  # for messages
        self._pins = pins
        self._local = local_folder(url)
        self._filesystem, self._root = (None, "") if self._local is not None else _open_remote(url)

    # --- where ---------------------------------------------------------------------------------------------------------

    def uri(self, sha256: str) -> str:
        """Address of a file under the store's own URL."""
        return f"{self.url}/{_name(sha256)}"

    def local_path(self, sha256: str) -> Path | None:
        """The file itself where the store is a local folder (whether it exists or not), else None. Don't write to it."""
        return None if self._local is None else self._local / _name(sha256)

    def exists(self, sha256: str) -> bool:
        return self.size(sha256) is not None

    def size(self, sha256: str) -> int | None:
        """Bytes, or None where the file is not there."""
        with self._explained("read"):
            try:
                path = self.local_path(sha256)
                return path.stat().st_size if path is not None else int(self._remote.size(self._key(sha256)))
            except FileNotFoundError:
                return None

    def modified(self, sha256: str) -> datetime | None:
        """When the file was stored, or found there by somebody who stored it again; None where it is not there."""
        with self._explained("read"):
            try:
                path = self.local_path(sha256)
                if path is not None:
                    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
                return _time_of(self._remote.info(self._key(sha256)))
            except FileNotFoundError:
                return None

    def listing(self) -> Iterator[StoredFile]:
        """Every file, by digest. What has another name is none of ours and is left out."""
        with self._explained("read"):
            if self._local is not None:
                for path in sorted((self._local / "sha256").glob("*/*/*")):
                    if is_digest(path.name) and path.is_file():
                        found = path.stat()
                        at = datetime.fromtimestamp(found.st_mtime, UTC)
                        yield StoredFile(path.name, found.st_size, at)
                return
            try:
                entries = self._remote.find(f"{self._root}/sha256", detail=True)
            except FileNotFoundError:
                return
            for name, info in sorted(entries.items()):
                if is_digest(name.rpartition("/")[2]):
                    yield StoredFile(name.rpartition("/")[2], int(info["size"]), _time_of(info))

    # --- in ------------------------------------------------------------------------------------------------------------

    def put_file(self, path: Path) -> Stored:
        """Store the bytes of `path`; a file that is there already, whole, is left alone, a damaged one is replaced.

        Raises IntegrityError where `path` changes meanwhile, ServiceUnavailable where the store can't be written.
        """
        try:
            sha256, size = digest_of_file(path), path.stat().st_size
        except OSError as error:
            raise InputError(
                "a file can't be read", value=f"{path}: {error.strerror}", fix="see that it exists and may be read"
            ) from error
        with self._explained("write"):
            if self._local is not None:
                self._put_local(path, sha256, size)
            else:
                self._put_remote(path, sha256, size)
        return Stored(sha256, size)

    def _put_local(self, path: Path, sha256: str, size: int) -> None:
        assert self._local is not None
        target = self._local / _name(sha256)
        if target.exists() and target.stat().st_size == size and digest_of_file(target) == sha256:
            with contextlib.suppress(OSError):
                os.utime(target)  # it is in use: what nobody used for long may be removed
            return
        waiting = self._local / "incoming"
        waiting.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(waiting)
        temporary = waiting / uuid.uuid4().hex
        try:
            _copy_checked(path, temporary, sha256, "the file changed while it was stored")
            temporary.chmod(0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
            for folder in (target.parent, target.parent.parent, self._local):
                _sync(folder)
        finally:
            temporary.unlink(missing_ok=True)

    def _put_remote(self, path: Path, sha256: str, size: int) -> None:
        if self.size(sha256) == size:
            return
        target = self._key(sha256)
        direct = bool(_protocols(self._remote) & ATOMIC_PROTOCOLS)
        written = target if direct else f"{self._root}/incoming/{uuid.uuid4().hex}"
        try:
            if not direct:  # an object store has no folders, and would take the first one for a bucket to make
                self._remote.makedirs(written.rpartition("/")[0], exist_ok=True)
            try:
                self._remote.put_file(str(path), written)
            except FileNotFoundError as error:
                raise InputError(
                    "the artifact store's bucket or folder does not exist", value=self.url,
                    fix="make it, or correct QUANTPLAY_ARTIFACTS_URL",
                ) from error  # fmt: skip
            found = int(self._remote.size(written))
            if found != size:
                raise ServiceUnavailable(
                    "the artifact store kept only part of a file", value=f"{found} of {size} bytes", fix="run again"
                )
            if not direct:
                self._remote.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._remote.mv(written, target)
        finally:
            if not direct:
                with contextlib.suppress(OSError):
                    self._remote.rm_file(written)

    # --- out -----------------------------------------------------------------------------------------------------------

    def get(self, sha256: str, destination: Path) -> Path:
        """Copy a file to `destination`, which appears whole and verified or not at all."""
        temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}")
        with self._explained("read"):
            try:
                destination.parent.mkdir(parents=True, exist_ok=True)
                local = self.local_path(sha256)
                try:
                    if local is None:
                        self._remote.get_file(self._key(sha256), str(temporary))
                except FileNotFoundError:
                    raise self._missing(sha256) from None
                if local is not None and not local.exists():
                    raise self._missing(sha256)
                if local is not None:
                    _copy_checked(local, temporary, sha256, "an artifact is damaged", shown=self.uri(sha256))
                else:
                    _check(digest_of_file(temporary), sha256, "an artifact is damaged", self.uri(sha256))
                temporary.replace(destination)
            finally:
                temporary.unlink(missing_ok=True)
        return destination

    def verify(self, sha256: str) -> None:
        """Read a file again and compare; IntegrityError names file, expected and found digest."""
        with self._explained("read"):
            sha = hashlib.sha256()
            try:
                path = self.local_path(sha256)
                with path.open("rb") if path is not None else self._remote.open(self._key(sha256), "rb") as file:
                    while chunk := file.read(CHUNK):
                        sha.update(chunk)
            except FileNotFoundError:
                raise self._missing(sha256) from None
        _check(sha.hexdigest(), sha256, "an artifact is damaged", self.uri(sha256))

    def delete(self, sha256: str) -> bool:
        """Remove a file; False where it was not there. InputError where it is pinned, or pins can't be looked up."""
        if self._pins is None:
            raise InputError("deleting needs the product database, which knows what is pinned", value=sha256)
        reasons = self._pins(sha256)
        if reasons:
            raise InputError("a pinned artifact is not deleted", value=f"{sha256}: {'; '.join(reasons)}")
        with self._explained("write"):
            try:
                path = self.local_path(sha256)
                if path is None and self.size(sha256) is None:  # an object store says nothing about what was not there
                    return False
                path.unlink() if path is not None else self._remote.rm_file(self._key(sha256))
            except FileNotFoundError:
                return False
        return True

    # --- the rest ------------------------------------------------------------------------------------------------------

    @property
    def _remote(self) -> Any:
        assert self._filesystem is not None
        return self._filesystem

    def _key(self, sha256: str) -> str:
        return f"{self._root}/{_name(sha256)}"

    def _missing(self, sha256: str) -> IntegrityError:
        return IntegrityError(
            "an artifact is missing",
            value=self.uri(sha256),
            fix="run the plan again: what is missing is made again; or restore the artifact store from a backup",
        )

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Errors of disk and network become ours."""
        try:
            yield
        except OSError as error:
            where = f"{error.filename or self.url}: {error.strerror or error}"
            if error.errno in FULL:
                raise OutOfSpace("the disk is full", value=where, fix="free space there and run again") from error
            if error.errno in READ_ONLY or isinstance(error, PermissionError):
                raise ServiceUnavailable(
                    f"the artifact store can't {doing} there",
                    value=where,
                    fix="fix the permissions or the credentials, or set QUANTPLAY_ARTIFACTS_URL to a place that can be written",
                ) from error
            raise self._no_answer(where) from error
        except Exception as error:
            # Amazon's own client, which is never imported here, lets some of its errors through.
            if type(error).__module__.partition(".")[0] not in ("botocore", "aiobotocore"):
                raise
            if "Credentials" not in type(error).__name__:
                raise self._no_answer(f"{self.url}: {error}") from error
            raise InputError(
                "there are no credentials for the artifact store", value=f"{self.url}: {error}",
                fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role",
            ) from error  # fmt: skip

    def _no_answer(self, where: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            "the artifact store does not answer", value=where, fix="see that QUANTPLAY_ARTIFACTS_URL can be reached"
        )


def local_folder(url: str) -> Path | None:
    """The folder of a path or a file: URL, else None."""
    if url.startswith("file:"):
        return Path(url2pathname(urlsplit(url).path)).absolute()
    return None if "://" in url else Path(url).expanduser().absolute()


def require_known_protocol(url: str) -> None:
    """Raise InputError for an address nothing can open, before any work is done. Opens and imports no file system."""
    if local_folder(url) is not None:
        return
    import fsspec

    protocol = url.partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise InputError(
            "QUANTPLAY_ARTIFACTS_URL names a protocol that is not known",
            value=protocol,
            allowed="a folder, file:///folder, s3://bucket/prefix or any other fsspec URL",
            fix="correct it, or unset it to keep artifacts below QUANTPLAY_HOME",
        )


def _open_remote(url: str) -> tuple[Any, str]:
    import fsspec

    require_known_protocol(url)
    protocol = url.partition("://")[0]
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependency(f"the package for {protocol}:// addresses is not installed", fix=str(error)) from error
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"QUANTPLAY_ARTIFACTS_URL can't be opened: {type(error).__name__}", value=redacted(url), fix="correct it"
        ) from error
    return filesystem, root.rstrip("/")


def _time_of(info: dict[str, Any]) -> datetime:
    """When an object was written, as its file system says it; now where it doesn't: what has no age is not old."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, int | float):
            value = datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.now(UTC)


def _protocols(filesystem: Any) -> set[str]:
    found = filesystem.protocol
    return {found} if isinstance(found, str) else set(found)


def _name(sha256: str) -> PurePosixPath:
    if not is_digest(sha256):
        raise InputError("not a SHA-256", value=sha256, allowed="64 characters 0-9 a-f")
    return PurePosixPath("sha256", sha256[:2], sha256[2:4], sha256)


def _check(found: str, expected: str, what: str, where: str) -> None:
    if found != expected:
        raise IntegrityError(
            what,
            value=f"{where}: expected sha256 {expected}, found {found}",
            fix="restore it from a backup, or delete it and run again: it is then made anew",
        )


def _copy_checked(source: Path, target: Path, sha256: str, what: str, shown: str | None = None) -> None:
    """Copy and sync; IntegrityError `what` where the bytes read are not those of `sha256`."""
    sha = hashlib.sha256()
    with source.open("rb") as file, target.open("xb") as copy:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    _check(sha.hexdigest(), sha256, what, shown or str(source))


def _sync(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Drop temporary files of processes that were killed a day ago or earlier."""
    limit = time.time() - LEFTOVER_SECONDS
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < limit:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
