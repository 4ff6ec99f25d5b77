"""A folder as one .tar: written with nothing in it that depends on when or where, unpacked without trusting it."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from quantplay.errors import IntegrityError

MOST_MEMBERS = 20_000
LARGEST_READ = 1 << 20  # bytes at once; a header that claims more is no header of ours


def write_tar(folder: Path, out: Path, top: str) -> None:
    """Put every file below `folder` into `out` under `top`/: sorted, time 0, owner 0, mode 0644, uncompressed."""
    write_files(files_below(folder), out, top)


def files_below(folder: Path) -> dict[str, Path]:
    """Path relative to `folder` with `/` -> file."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def write_files(files: Mapping[str, Path], out: Path, top: str) -> None:
    """The same for files from anywhere: name below `top` -> file."""
    with tarfile.TarFile(out, "w", format=tarfile.PAX_FORMAT, copybufsize=LARGEST_READ) as archive:
        for name, path in sorted(files.items()):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(member, file)


def unpack_tar(archive_path: Path, folder: Path) -> Path:
    """Unpack into `folder` and return the archive's one folder in it.

    Only plain files with plain relative names below one top folder are written. Links, devices, sparse files, `..`, names
    that come twice, compressed archives, members larger than the archive and bytes that belong to no member raise
    IntegrityError. Modes, owners and times of the archive are ignored. Memory stays within a few MiB whatever the archive claims.
    """
    room = archive_path.stat().st_size
    top: str | None = None
    count = 0
    try:
        with (
            SmallReads(archive_path) as file,
            tarfile.open(fileobj=file, mode="r:") as archive,  # type: ignore[arg-type] - any readable object will do
        ):
            for member in archive:
                count += 1
                name = plain_name(member)
                if top is None:
                    top = name.parts[0]
                if name.parts[0] != top:
                    raise refused(member.name, "lies outside the archive's one top folder")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise refused(member.name, "is not a plain file")
                if len(name.parts) < 2:
                    raise refused(member.name, "lies outside the archive's one top folder")
                room -= member.size
                if room < 0 or count > MOST_MEMBERS:
                    raise refused(member.name, "makes the archive larger than it can be")
                copy_member(archive, member, folder.joinpath(*name.parts))
                require_zeros(file, member.offset_data + member.size, -member.size % tarfile.BLOCKSIZE, member.name)
            require_end(file, archive.offset, archive_path)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            f"{archive_path.name} can't be read as an uncompressed tar", value=error, fix="copy the package again"
        ) from error
    if top is None:
        raise IntegrityError(f"{archive_path.name} is empty", fix="copy the package again")
    return folder / top


class SmallReads(io.FileIO):
    """A file that refuses to read much at once: tarfile reads a long name as a whole, of whatever length the archive claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""


def require_zeros(file: SmallReads, start: int, count: int, member: str) -> None:
    """The bytes that fill up a member's last block hide nothing."""
    file.seek(start)
    if file.read(count).strip(b"\0"):
        raise refused(member, "is followed by bytes that belong to no file")


def require_end(file: SmallReads, offset: int, archive: Path) -> None:
    """From `offset`, behind the last member, come two blocks of zeros or more, and nothing else."""
    count = file.seek(0, io.SEEK_END) - offset
    clean = count >= 2 * tarfile.BLOCKSIZE
    file.seek(offset)
    while clean and (chunk := file.read(LARGEST_READ)):
        clean = not chunk.strip(b"\0")
    if not clean:
        raise IntegrityError(
            f"{archive.name} does not end as an archive does: it was cut off, damaged or appended to",
            value=f"{count} bytes behind the last whole file", fix="copy the package again",
        )  # fmt: skip


def copy_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except FileExistsError as error:
        raise refused(member.name, "comes twice, or is both a file and a folder") from error
    except NotADirectoryError as error:
        raise refused(member.name, "is both a file and a folder") from error
    if target.stat().st_size != member.size:
        raise refused(member.name, "is cut off")


def plain_name(member: tarfile.TarInfo) -> PurePosixPath:
    """The member's name, when it is a plain relative one."""
    name = member.name
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        raise refused(name, "leaves its folder")
    return PurePosixPath(name)


def refused(member: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"a member of the archive {why}", value=member, fix="don't use this archive; ask for it again"
    )
