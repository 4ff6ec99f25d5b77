"""Files at an address of a store, opened through fsspec, with every failure told as one of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from quantplay.address import STORES, redacted
from quantplay.engines.whole_file import require_space
from quantplay.errors import Fault, InputError, MissingDependency, PlanError, ServiceUnavailable

MAX_FILES = 2_000
MAX_SET_BYTES = 4 << 30
MARKS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")
"""What file systems call the thing that changes with the bytes, the surest first."""


class RemoteFile(NamedTuple):
    """One file to fetch."""

    name: str  # relative to the address
    size_bytes: int
    mark: str  # other bytes, other mark; empty where the file system knows none


class Remote:
    """A folder at an address; `shown` names it, or what was asked for, in errors."""

    def __init__(self, address: str, shown: str) -> None:
        self.address, self.shown = address.rstrip("/"), shown
        self._filesystem, self._root = opened(self.address, shown)

    def get(self, name: str, target: Path, *, limit_bytes: int) -> None:
        """Fetch one small file. Raises InputError where there is none, or it is too large."""
        with self._explained(name):
            size = int(self._filesystem.size(self._key(name)) or 0)
            if size > limit_bytes:
                raise InputError(
                    "the plan is too large", value=f"{self.shown}: {size:,} bytes", allowed=f"at most {limit_bytes:,} bytes",
                    fix="a plan is one YAML file; name its data sets instead of writing them into it",
                )  # fmt: skip
            self._filesystem.get_file(self._key(name), str(target))

    def files(self, single: Sequence[str], *, shallow: Sequence[str], deep: Sequence[str]) -> list[RemoteFile]:
        """What there is to fetch: single files, folders without and with what lies deeper. Raises PlanError with all that is missing."""
        found: dict[str, RemoteFile] = {}
        missing: list[Fault] = []
        for name in single:
            with self._explained(name):
                try:
                    info = self._filesystem.info(self._key(name))
                except FileNotFoundError:
                    missing.append(self._missing(name, "file"))
                    continue
                if info.get("type") == "directory":
                    missing.append(self._missing(name, "file"))
                    continue
                found[name] = self._file(name, info)
        for name, depth in [*((name, 1) for name in shallow), *((name, None) for name in deep)]:
            with self._explained(name):
                listed = self._filesystem.find(self._key(name), maxdepth=depth, detail=True)
                names = [self._name(key) for key, info in listed.items() if info.get("type") != "directory"]
                # Asked one by one, from what was listed: a listing may write a moment in another way than a file's own info.
                inside = [
                    self._file(one, self._filesystem.info(self._key(one)))
                    for one in names
                    if one != name and not hidden(one)
                ]
            if not inside:
                missing.append(self._missing(name, "folder"))
            found |= {file.name: file for file in inside}
        if missing:
            raise PlanError(f"{self.shown} names what is not there", faults=missing)
        self._require_sane(found)
        return sorted(found.values())

    def get_all(self, files: Sequence[RemoteFile], folder: Path) -> None:
        """Fetch into `folder`. Raises ServiceUnavailable where a file changes meanwhile; a retry fetches the new one."""
        require_space(folder / "file", sum(file.size_bytes for file in files))
        for file in files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._explained(file.name):
                self._filesystem.get_file(self._key(file.name), str(target))
                self._filesystem.invalidate_cache()
                now = self._file(file.name, self._filesystem.info(self._key(file.name)))
            if target.stat().st_size != file.size_bytes or now != file:
                raise ServiceUnavailable(
                    "a file changed while it was fetched", value=f"{self.address}/{file.name}", fix="run again"
                )

    # --- the rest ------------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self._root}/{PurePosixPath(name)}"

    def _file(self, name: str, info: dict[str, Any]) -> RemoteFile:
        return RemoteFile(
            name, int(info.get("size") or 0), next((str(info[mark]) for mark in MARKS if mark in info), "")
        )

    def _name(self, key: str) -> str:
        return key.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")

    def _missing(self, name: str, kind: str) -> Fault:
        return Fault(
            where=f"{self.address}/{name}",
            what=f"there is no such {kind}",
            fix="put it there, or correct the name in the plan",
        )

    def _require_sane(self, found: dict[str, RemoteFile]) -> None:
        """No name that leads elsewhere on this disk, and no flood of files."""
        bad = [name for name in found if ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name]
        if bad:
            raise InputError("a file at that address has a name that leads elsewhere", value=bad[0], fix="rename it")
        if len(found) > MAX_FILES:
            raise InputError(
                "the plan names too many files", value=f"{len(found):,}", allowed=f"at most {MAX_FILES:,}",
                fix="give model and tasks folders that hold nothing else",
            )  # fmt: skip
        large = [file for file in found.values() if file.name.endswith(".jsonl") and file.size_bytes > MAX_SET_BYTES]
        if large:
            raise InputError(
                "a data set is too large", value=f"{large[0].name}: {large[0].size_bytes:,} bytes",
                allowed=f"at most {MAX_SET_BYTES:,} bytes a file",
            )  # fmt: skip

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """What goes wrong on the way becomes one of our errors, with what to do."""
        where = f"{self.address}/{name}"
        try:
            yield
        except (InputError, ServiceUnavailable):
            raise
        except FileNotFoundError as error:
            raise InputError(
                "there is no such file", value=where, fix="check the address: bucket, folder and name"
            ) from error
        except PermissionError as error:
            raise InputError(
                "no access to this address", value=where,
                fix="give the worker credentials that may list and read it (for s3:// AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or a role), or correct the address",
            ) from error  # fmt: skip
        except Exception as error:
            if type(error).__name__ in (
                "NoCredentialsError",
                "PartialCredentialsError",
            ):  # botocore, never imported here
                raise InputError(
                    "no credentials for this address", value=where,
                    fix="give the worker AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role",
                ) from error  # fmt: skip
            raise ServiceUnavailable(
                f"the address can't be read: {error}", value=where, fix="see that it can be reached from this worker"
            ) from error


def hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts if part != "..")


def opened(address: str, shown: str) -> tuple[Any, str]:
    """File system and root of an address. Raises InputError for what can't hold a plan."""
    import fsspec

    protocol, _, rest = shown.partition("://")
    if protocol not in STORES:
        raise InputError(
            "a plan can't be fetched from there", value=redacted(shown),
            allowed=f"a path on the worker, or an address that begins with {', '.join(f'{name}://' for name in STORES)}",
            fix="copy the plan with everything it names to a bucket, or to a folder every worker can read",
        )  # fmt: skip
    if "@" in rest.partition("/")[0] or ":" in rest.partition("/")[0] or "?" in rest:
        raise InputError(
            "the address is more than a place: what stands before an @ or after a ? may be a key", value=redacted(shown),
            allowed="protocol://bucket/folder/plan.yaml",
            fix="give the workers credentials in their environment, or a role, and change a key that was written into an address",
        )  # fmt: skip
    if not address.partition("://")[2].strip("/") or ".." in PurePosixPath(rest).parts:
        raise InputError(
            "the address is not plain", value=shown, allowed="protocol://bucket/folder/plan.yaml, without .."
        )
    try:
        filesystem, root = fsspec.core.url_to_fs(address)
        filesystem.invalidate_cache()
    except ImportError as error:
        raise MissingDependency(f"the package for {protocol}:// addresses is not installed", fix=str(error)) from error
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"the address can't be opened: {type(error).__name__}: {error}", value=shown,
            fix="check the address, and the settings of that store on this worker",
        ) from error  # fmt: skip
    return filesystem, root.rstrip("/")
