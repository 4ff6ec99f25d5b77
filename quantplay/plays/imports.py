"""Import of the past: an artifact that was quantized elsewhere enters the registry, unvalidated, and is a run's candidate as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.model_file import SUFFIX, write_model_file
from quantplay.errors import Fault, InputError
from quantplay.evalset import manifest_of_model, model_files, resolve_model
from quantplay.formats import FORMATS, TYPES
from quantplay.gate.ahead import ROUNDS_ACTIVATIONS
from quantplay.plan import ModelSource, Plan
from quantplay.quantizers.folder_recipe import NO_CONVERTER
from quantplay.records import Artifact, FileEntry, Import, Inputs, Recipe
from quantplay.store.registry import Store

LONGEST_NAME = 200
METHOD = "imported"  # of a recipe
VECTORS = "vectors and whatever else the artifact's list of tensors shows so"


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
    whole = artifact.resolve()
    name = (name if name is not None else whole.name if artifact.is_dir() else whole.stem).strip()
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
        if artifact.is_dir():
            found = model_files(artifact, quantized=True)
            file = Path(place) / f"{whole.name}{SUFFIX}"
            write_model_file(artifact, file, found)
        else:
            found, file = {artifact.name: artifact}, artifact
        files = tuple(entry_of(inside, path) for inside, path in sorted(found.items()))
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


# --- as the candidate of a run ---------------------------------------------------------------------------------------


def required_import(store: Store, plan: Plan, inputs: Inputs) -> Import | None:
    """The import that `plan` wants judged; None where it wants none. Before anything is measured: raises InputError where it is not
    registered, not of this model or type, or its bytes are gone."""
    if plan.imported is None:
        return None
    told = store.get_import(plan.imported)
    if told is None:
        raise InputError(
            "the plan names an imported artifact that is not registered", value=plan.imported,
            allowed="the SHA-256 that `quantplay registry list --state unvalidated --json` shows", fix="quantplay import ARTIFACT --base MODEL",
        )  # fmt: skip
    faults = list(misfits(told, plan, inputs))
    if faults:
        raise InputError(f"the imported artifact {told.name} is not what this plan judges", faults=faults)
    store.artifacts.verify(told.sha256)
    return told


def misfits(told: Import, plan: Plan, inputs: Inputs) -> Iterator[Fault]:
    runtime = plan.envelope.runtime
    if told.base != inputs.model.content:
        yield Fault(
            where="model", what="is not the one that it was registered as made from", value=inputs.model.content,
            allowed=f"{told.base_source}: {told.base}", fix="name that model in the plan, or import the artifact with its own base",
        )  # fmt: skip
    if told.type not in TYPES:
        yield Fault(
            where="imported", what="is of a type that no runtime here is known to serve", value=f"{told.format} {told.type}",
            allowed=", ".join(TYPES), fix="quantize the base model to one of these",
        )  # fmt: skip
    elif runtime not in FORMATS[told.format].runtimes:
        yield Fault(
            where="envelope.runtime", what="does not load it", value=runtime, allowed=", ".join(FORMATS[told.format].runtimes)
        )  # fmt: skip
    elif plan.envelope.types != (told.type,):
        yield Fault(
            where="envelope.types", what="is not its type", value=", ".join(plan.envelope.types), allowed=told.type,
            fix=f"write `types: [{told.type}]` under `envelope:`",
        )  # fmt: skip


def recipe_of_import(told: Import, plan: Plan, inputs: Inputs) -> Recipe:
    """All that is known of how it was made: which file it is. No version, no calibration text, nothing to make it again with."""
    return Recipe(
        format=told.format, type=told.type, method=METHOD, bits_per_weight=TYPES[told.type].bits_per_weight,
        bits_activations=8 if told.type in ROUNDS_ACTIVATIONS else 16, group_size=told.group_size, importance_matrix=False,
        tensor_types={}, higher_precision=(*told.full_precision, VECTORS), model=inputs.model.content, calibration=inputs.calibration.content,
        calibration_samples=0, calibration_tokens=0, seed=plan.seed, threads=1, versions={}, converter=NO_CONVERTER,
        imported=told.sha256,
    )  # fmt: skip


def artifact_of_import(told: Import, recipe: Recipe, file_name: str) -> Artifact:
    return Artifact(
        recipe=recipe.digest(), format=told.format, type=told.type, file_name=file_name, sha256=told.sha256,
        size_bytes=told.size_bytes, bits_per_weight=told.bits_per_weight, tensors=told.tensors, importance_matrix=None, seconds=0,
        peak_resident_bytes=0,
    )  # fmt: skip
