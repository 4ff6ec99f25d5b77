"""Import of the past: an artifact that was quantized elsewhere enters the registry, unvalidated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.model_file import SUFFIX, write_model_file
from quantplay.errors import InputError
from quantplay.evalset import manifest_of_model, model_files, resolve_model
from quantplay.plan import ModelSource
from quantplay.records import FileEntry, Import
from quantplay.store.registry import Store

LONGEST_NAME = 200


def import_artifact(
    store: Store,
    artifact: Path,
    base: ModelSource,
    *,
    scratch: Path,
    name: str | None = None,
    origin: str = "",
    said_by: str,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Import, bool]:
    """Read `artifact` and the model it is said to be made from, keep its bytes, register it; whether it is new.

    base: relative to the working folder. scratch: where a folder becomes one file. Everything that can be wrong is refused before
    anything is stored: InputError or IntegrityError on the artifact and on a model it was not made from, OutOfSpace.
    """
    name = (name if name is not None else artifact.resolve().stem).strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            "this can't be the name of an artifact",
            value=name[:LONGEST_NAME],
            allowed=f"one line of up to {LONGEST_NAME} characters",
        )
    folder = resolve_model(base, Path())
    say("reading the artifact")
    told = process.run(
        "quantplay.quantizers.imported:read_job", {"artifact": str(artifact), "base": str(folder)}, threads=1
    ).value
    say("reading the model it is said to be made from")
    manifest = manifest_of_model(folder, base.source, base.commit)
    weights, stored_bits = told.pop("weights"), told.pop("stored_bits")
    say("keeping its bytes")
    with TemporaryDirectory(dir=scratch) as place:
        file, files = artifact, (entry_of(artifact.name, artifact),)
        if artifact.is_dir():
            found = model_files(artifact, quantized=True)
            files = tuple(entry_of(inside, path) for inside, path in sorted(found.items()))
            file = Path(place) / f"{artifact.resolve().name}{SUFFIX}"
            write_model_file(artifact, file, found)
        stored = store.artifacts.put_file(file)
    store.put_manifest(manifest)
    imported = Import(
        **told, sha256=stored.sha256, size_bytes=stored.size_bytes, name=name, base=manifest.content, base_source=base.source,
        bits_per_weight=round(stored_bits / weights, 6), file_name=file.name, files=files, origin=origin.strip(), said_by=said_by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    return store.register_import(imported)


def entry_of(name: str, path: Path) -> FileEntry:
    return FileEntry(path=name, size_bytes=path.stat().st_size, sha256=digest_of_file(path))
