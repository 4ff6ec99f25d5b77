"""The few files of llama.cpp's converter out of a source distribution, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from quantplay.digest import digest_of_entries, digest_of_file
from quantplay.errors import IntegrityError

SCRIPT = "convert_hf_to_gguf.py"
FOLDERS = ("conversion", "gguf-py")
INSIDE = ("vendor", "llama.cpp")  # below the archive's single top folder


def unpack(sdist: Path, folder: Path) -> None:
    """Copy convert_hf_to_gguf.py, conversion/ and gguf-py/ from `sdist` into `folder`.

    Only regular files with plain relative names are written; links, devices and `..` raise IntegrityError. Modes and owners of
    the archive are ignored.
    """
    try:
        with tarfile.open(sdist, "r:gz") as archive:
            for member in archive:
                wanted = wanted_path(member.name)
                if wanted is None or member.isdir():
                    continue
                if not member.isreg():
                    raise suspicious(member.name, "is neither a file nor a folder")
                source = archive.extractfile(member)
                assert source is not None
                target = folder.joinpath(*wanted.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("xb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise IntegrityError(f"{sdist} can't be unpacked", value=error, fix=f"delete {sdist} and run again") from error
    if not (folder / SCRIPT).is_file():
        raise IntegrityError(f"{sdist} holds no converter", allowed=f"an archive with {'/'.join(INSIDE)}/{SCRIPT}")


def wanted_path(name: str) -> PurePosixPath | None:
    """Path of an archive member below llama.cpp's folder, or None where it is none of ours."""
    parts = PurePosixPath(name).parts
    if parts[1 : 1 + len(INSIDE)] != INSIDE or len(parts) < 2 + len(INSIDE):
        return None
    inner = PurePosixPath(*parts[1 + len(INSIDE) :])
    if inner.parts[0] not in (*FOLDERS, SCRIPT) or (inner.parts[0] == SCRIPT) != (len(inner.parts) == 1):
        return None
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise suspicious(name, "leaves its folder")
    return inner


def suspicious(member: str, why: str) -> IntegrityError:
    return IntegrityError(f"a member of the archive {why}", value=member, fix="don't use this archive")


def digest_of_tree(folder: Path) -> str:
    """Digest over every file below `folder`. A link or a special file gives a digest that equals no pinned one."""
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            entries.append((name, "not a plain file"))
        elif path.is_file():
            entries.append((name, digest_of_file(path)))
    return digest_of_entries(entries)
