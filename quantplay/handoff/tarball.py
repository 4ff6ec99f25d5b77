"""A package as one .tar: written with nothing in it that depends on when or where, unpacked without trusting it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from quantplay.errors import IntegrityError

MOST_MEMBERS = 100_000


def write_tar(folder: Path, out: Path, top: str) -> None:
    """Put every file below `folder` into `out` under `top`/: sorted, time 0, owner 0, mode 0644, uncompressed."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files:
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(member, file)


def unpack_tar(archive_path: Path, folder: Path) -> Path:
    """Unpack into `folder` and return the package's own folder in it.

    Only plain files with plain relative names below one top folder are written. Links, devices, sparse files, `..`, names
    that come twice, compressed archives and members larger than the archive raise IntegrityError. Modes, owners and times of the
    archive are ignored.
    """
    room = archive_path.stat().st_size
    top: str | None = None
    count = 0
    try:
        with tarfile.open(archive_path, "r:") as archive:
            for member in archive:
                count += 1
                name = plain_name(member)
                if top is None:
                    top = name.parts[0]
                if name.parts[0] != top:
                    raise refused(member.name, "lies outside the package's one top folder")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise refused(member.name, "is not a plain file")
                if len(name.parts) < 2:
                    raise refused(member.name, "lies outside the package's one top folder")
                room -= member.size
                if room < 0 or count > MOST_MEMBERS:
                    raise refused(member.name, "makes the archive larger than it can be")
                copy_member(archive, member, folder.joinpath(*name.parts))
    except (tarfile.TarError, EOFError) as error:
        raise IntegrityError(
            f"{archive_path.name} can't be read as an uncompressed tar", value=error, fix="copy the package again"
        ) from error
    if top is None:
        raise IntegrityError(f"{archive_path.name} is empty", fix="copy the package again")
    return folder / top


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
