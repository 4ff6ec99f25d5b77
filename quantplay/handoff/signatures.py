"""signatures/ in a package: who approved it, in files that OpenSSH alone can check. Not part of the manifest, which is what is signed.

signoffs.json      every sign-off about this decision, rejections included, and the SHA-256 of the files below
N-STAGE-ROLE.txt   what was signed, byte for byte            N-STAGE-ROLE.sig   the signature over it
owners.yaml        people, roles and keys they were checked against      allowed_signers   the same for ssh-keygen
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from quantplay.digest import digest_of, digest_of_bytes
from quantplay.engines.tarball import write_tar
from quantplay.engines.whole_file import flush
from quantplay.errors import Fault, IntegrityError
from quantplay.handoff.layout import SIGNATURES, json_bytes
from quantplay.handoff.pack import flush_tree, staging
from quantplay.records import Digest, PackageRef, Record, SignOff
from quantplay.signoff import Owners

LIST, OWNERS, ALLOWED = "signoffs.json", "owners.yaml", "allowed_signers"
CHECKSUM = "checksum"  # digest of all the other keys
LARGEST_FILE = 4 << 20
MOST_SIGNOFFS = 1000


class SignOffList(Record):
    """signoffs.json."""

    kind: Literal["quantplay sign-offs"] = "quantplay sign-offs"
    layout: Literal[1] = 1
    run: str  # the run whose signatures lock this package
    signoffs: tuple[SignOff, ...]  # oldest first; of other runs with the same decision too
    files: dict[str, Digest]  # name -> SHA-256 of every other file in signatures/

    def to_bytes(self) -> bytes:
        return json_bytes(self.body() | {CHECKSUM: self.digest()})


def stem(number: int, signoff: SignOff) -> str:
    """Name of a sign-off's two files, without the ending; `number` from 1."""
    return f"{number}-{signoff.stage}-{signoff.role}"


def files_of(run: str, signoffs: Iterable[SignOff], owners: Owners) -> dict[str, bytes]:
    """Every file of signatures/, by name."""
    signoffs = tuple(signoffs)
    files = {OWNERS: owners.text, ALLOWED: owners.allowed_signers().encode()}
    for number, one in enumerate(signoffs, start=1):
        files[f"{stem(number, one)}.txt"] = one.text.encode()
        files[f"{stem(number, one)}.sig"] = one.signature.encode()
    digests = {name: digest_of_bytes(data) for name, data in sorted(files.items())}
    return files | {LIST: SignOffList(run=run, signoffs=signoffs, files=digests).to_bytes()}


# --- write -----------------------------------------------------------------------------------------------------------


def write_signatures(package: PackageRef, run: str, signoffs: Iterable[SignOff], owners: Owners) -> None:
    """Put signatures/ into the package's folder and its .tar; what is there already, and right, is left alone.

    Each appears whole or not at all; interrupted at any moment, it is made good by calling it again. The manifest and what it
    lists are not touched. Raises IntegrityError where the package is gone, OutOfSpace on a full disk.
    """
    folder, files = Path(package.path), files_of(run, signoffs, owners)
    if not folder.is_dir():
        raise IntegrityError(
            "the package is gone", value=folder, fix="put it back where it was, from its .tar or a copy"
        )
    archive, target = Path(package.archive or f"{folder}.tar"), folder / SIGNATURES
    in_folder, in_archive = held_by_folder(target) == files, held_by_archive(archive) == files
    if in_folder and in_archive:
        return
    with staging(folder, needed_bytes=package.size_bytes + sum(map(len, files.values()))) as partial:
        if not in_folder:
            new = partial / SIGNATURES
            new.mkdir()
            for name, data in files.items():
                (new / name).write_bytes(data)
            flush_tree(new)
            if target.is_symlink() or target.exists():
                target.rename(partial / "old")
            new.rename(target)
            flush(folder)
        write_tar(folder, partial / "tar", folder.name)
        flush(partial / "tar")
        (partial / "tar").replace(archive)
        flush(folder.parent)


def held_by_folder(target: Path) -> dict[str, bytes] | None:
    """Files of signatures/ by name; None where it is not there or holds anything but plain files."""
    if target.is_symlink() or not target.is_dir():
        return None
    paths = list(target.iterdir())
    if any(path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FILE for path in paths):
        return None
    return {path.name: path.read_bytes() for path in paths}


def held_by_archive(archive: Path) -> dict[str, bytes] | None:
    """The same of the package's .tar; None where there is no archive of ours."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                _, _, inside = member.name.partition("/")
                if inside.startswith(f"{SIGNATURES}/") and member.isreg() and member.size <= LARGEST_FILE:
                    content = tar.extractfile(member)
                    found[inside.removeprefix(f"{SIGNATURES}/")] = content.read() if content is not None else b""
    except (OSError, tarfile.TarError):
        return None
    return found


# --- read ------------------------------------------------------------------------------------------------------------


def read_list(folder: Path) -> tuple[SignOffList | None, list[Fault]]:
    """signatures/signoffs.json of a package, and everything wrong with the files beside it. Nothing there: (None, [])."""
    target = folder / SIGNATURES
    if not target.is_symlink() and not target.exists():
        return None, []
    if target.is_symlink() or not target.is_dir():
        return None, [Fault(where=SIGNATURES, what="not a plain folder", fix="copy the package again, without links")]
    listed = list_in(target)
    names = listed.files if isinstance(listed, SignOffList) else {}
    faults = [listed] if isinstance(listed, Fault) else []
    present = {
        path.relative_to(target).as_posix(): path
        for path in sorted(target.rglob("*"))
        if path.name != LIST or path.parent != target
    }
    for name, path in present.items():
        where = f"{SIGNATURES}/{name}"
        if path.is_symlink() or not path.is_file():
            faults.append(Fault(where=where, what="not a plain file", fix="delete it, or copy the package again"))
        elif name not in names:
            if isinstance(listed, SignOffList):
                faults.append(Fault(where=where, what=f"added: not listed in {SIGNATURES}/{LIST}", fix="delete it"))
        elif path.stat().st_size > LARGEST_FILE or digest_of_bytes(path.read_bytes()) != names[name]:
            faults.append(Fault(where=where, what="changed", fix="ask for the package again"))
    faults += [Fault(where=f"{SIGNATURES}/{name}", what="missing") for name in sorted(names.keys() - present.keys())]
    if not isinstance(listed, SignOffList):
        return None, faults
    return listed, faults or unlike_the_records(listed, target)


def list_in(target: Path) -> SignOffList | Fault:
    """signoffs.json, read strictly: one way to be written, with a checksum."""
    path, where = target / LIST, f"{SIGNATURES}/{LIST}"
    if path.is_symlink() or not path.is_file():
        return Fault(where=where, what="missing, or not a plain file")
    if path.stat().st_size > LARGEST_FILE:
        return Fault(where=where, what="too large", value=f"{path.stat().st_size} bytes")
    try:
        data = path.read_bytes()
        body: Any = json.loads(data)
        checksum = body.pop(CHECKSUM, None) if isinstance(body, dict) else None
        if checksum != digest_of(body):
            return Fault(where=where, what="changed: it does not fit its own checksum")
        listed = SignOffList.model_validate(body)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        what = "has the wrong form" if isinstance(error, ValidationError) else "is no JSON"
        return Fault(where=where, what=what, value=str(error))
    if len(listed.signoffs) > MOST_SIGNOFFS:
        return Fault(
            where=where, what="too many sign-offs", value=str(len(listed.signoffs)), allowed=str(MOST_SIGNOFFS)
        )
    if listed.to_bytes() != data:
        return Fault(where=where, what="changed: not written the way quantplay writes it")
    return listed


def unlike_the_records(listed: SignOffList, target: Path) -> list[Fault]:
    """Files that say something else than signoffs.json, by a list made anew over changed files."""
    wanted: Mapping[str, str] = {
        f"{stem(number, one)}.{ending}": text
        for number, one in enumerate(listed.signoffs, start=1)
        for ending, text in (("txt", one.text), ("sig", one.signature))
    }
    allowed = wanted.keys() | {OWNERS, ALLOWED}
    faults = [
        Fault(where=f"{SIGNATURES}/{name}", what="added: belongs to no sign-off", fix="delete it")
        for name in sorted(listed.files.keys() - allowed)
    ]
    faults += [Fault(where=f"{SIGNATURES}/{name}", what="missing") for name in sorted(allowed - listed.files.keys())]
    faults += [
        Fault(where=f"{SIGNATURES}/{name}", what=f"is not what {LIST} holds")
        for name, text in wanted.items()
        if name in listed.files and (target / name).read_bytes() != text.encode()
    ]
    return faults
