"""Large files appear whole or not at all: written under a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantplay.errors import InputError, OutOfSpace


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """Yields a temporary path beside `out`; what lies there at the end becomes `out` by one rename.

    On an error nothing is left behind and an older `out` stays as it was. A full disk raises OutOfSpace.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
    except OSError as error:
        raise unwritable(out, error) from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        flush(partial)
        partial.replace(out)
        flush(out.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise out_of_space(out) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Ask the disk to have the file's bytes, or the folder's entries, now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_space(out: Path, needed_bytes: int) -> None:
    """Raise OutOfSpace before hours of work where the disk of `out` can't hold `needed_bytes` more."""
    folder = out.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise out_of_space(out, f"{free / 2**20:.0f} MiB free, about {needed_bytes / 2**20:.0f} MiB needed")


def out_of_space(out: Path, found: str | None = None) -> OutOfSpace:
    return OutOfSpace(
        f"the disk is too full to write {out}",
        value=found,
        fix=f"free space (`df -h {out.parent}`), or point QUANTPLAY_HOME to a larger disk, and run again",
    )


def unwritable(out: Path, error: OSError) -> InputError | OutOfSpace:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return out_of_space(out)
    return InputError(f"can't write {out}", value=error.strerror, fix="choose a folder this user may write to")
