"""Make the artifact of a package again, from its sources and its recipe, and say whether the same bytes came out.

Needs no network, no database and not the artifact itself. Everything in the package is data: it is verified first, its files are
checked by digest before they are used, and nothing in it is run.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.converter import ensure_converter
from quantplay.engines.model_file import write_model_file
from quantplay.engines.scratch import claim_scratch
from quantplay.engines.whole_file import require_space, unwritable
from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.formats import TYPES
from quantplay.handoff import layout
from quantplay.handoff.apart import harmless, verify_folder_apart
from quantplay.handoff.manifest import MISSING
from quantplay.handoff.sources import Sources, checked_sources, trained_weights
from quantplay.handoff.stack import StackDifference, stack_differences
from quantplay.handoff.tensor_differences import FileDifferences, differences_of
from quantplay.handoff.verify import package_folder
from quantplay.process import Outcome, Report
from quantplay.quantizers import METHODS, method
from quantplay.quantizers.folder_recipe import NO_CONVERTER
from quantplay.quantizers.rounding import METHOD as ROUNDED
from quantplay.quantizers.trained import trained_folder
from quantplay.records import Artifact, Digest, Fingerprint, Inputs, Recipe
from quantplay.settings import Settings

MOST_THREADS = 1024
METHOD = "llama.cpp-quantize"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of the work, in a child process of its own."""

    name: str
    seconds: float
    peak_resident_bytes: int
    same: bool | None  # whether it gave what the run recorded; None where nothing was recorded


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """What came out. `identical` is the answer; the rest explains it."""

    path: str
    run: str
    type: str  # Q4_K_M ...
    recorded: Digest  # sha256 of the artifact, as the recipe's run recorded it
    made: Digest
    size_bytes: int  # of what was made
    steps: tuple[Step, ...]
    stack: tuple[StackDifference, ...]  # what here is not as it was there
    types: tuple[tuple[str, str, str], ...]  # tensor, recorded type, type made; "none" where it is missing
    files: (
        FileDifferences | None
    )  # None where the bytes are the same, or the recorded file is not there to compare with
    out: str | None  # where the artifact was kept

    @property
    def identical(self) -> bool:
        return self.made == self.recorded


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a replay reads of a package."""

    run: str
    inputs: Inputs
    recipe: Recipe
    artifact: Artifact
    measured_on: Fingerprint
    reference: Digest  # sha256 of the converted full-precision file
    artifact_path: Path | None  # None where the file was taken out


def replay(
    path: Path,
    settings: Settings,
    *,
    sources: Path | None = None,
    out: Path | None = None,
    on_progress: Callable[[str], Report] | None = None,
) -> ReplayReport:
    """Replay the package in folder or .tar `path`.

    sources: folder with `model/` and `calibration/`, where the package does not carry them. out: keep the artifact here, whatever
    came out. on_progress: name of a step -> its progress callback. Raises IntegrityError with every problem where the package does
    not verify or a source is not the pinned file, InputError where there is nothing to replay or `out` exists, MissingDependency
    where the converter is not in the cache and can't be fetched, OutOfSpace.
    """
    if out is not None and out.exists():
        raise InputError(
            "there is a file already where the artifact should go",
            value=out,
            fix="name another file; nothing is overwritten",
        )
    with package_folder(path) as folder, scratch_folder(settings.home / "scratch") as scratch:
        package = verified(folder, path)
        carried = folder / layout.SOURCES
        if sources is None and not carried.is_dir():
            raise InputError(
                "this package does not carry its sources: its model is too large", value=package.inputs.model.source,
                fix="quantplay replay PACKAGE --sources FOLDER, with `model/` and `calibration/calibration.jsonl` in it",
            )  # fmt: skip
        (staging := scratch / "model").mkdir()
        found = checked_sources(sources or carried, package.inputs, staging)
        trained = package.recipe.trained
        weights = trained_weights(sources or carried, trained, settings.artifacts_url, scratch) if trained else None
        # Room for the full-precision file, or two: at most 8-bit weights become float32.
        require_space(scratch / "reference.gguf", (4 if trained else 2) * package.inputs.model.size_bytes)
        converter = ensure_converter(settings.cache).digest if package.recipe.format == "gguf" else NO_CONVERTER
        stack = stack_differences(package.recipe, package.measured_on, converter)
        found = replace(found, trained=weights)
        return made_again(package, found, scratch, settings.cache, stack, str(path), out, on_progress or silent)


def made_again(
    package: Package, sources: Sources, scratch: Path, cache: Path, stack: tuple[StackDifference, ...], path: str, out: Path | None,
    on_progress: Callable[[str], Report],
) -> ReplayReport:  # fmt: skip
    """Convert, quantize, compare."""
    recipe, artifact = package.recipe, package.artifact
    if recipe.format != "gguf":
        return folder_made_again(package, sources, scratch, stack, path, out, on_progress)
    reference, target = scratch / "reference.gguf", out or scratch / "made.gguf"
    converted = process.run(
        "quantplay.engines.converter:convert_job",
        {"model": str(sources.model), "out": str(reference), "cache": str(cache), "outtype": "f32"},
        threads=1,
        on_progress=on_progress("convert"),
    )
    steps = [step("convert to full-precision GGUF", converted, converted.value["sha256"] == package.reference)]
    if sources.trained is not None and recipe.trained is not None:
        reference = scratch / "trained.gguf"
        with trained_folder(sources.model, sources.trained, recipe.trained, scratch) as folder:
            again = process.run(
                "quantplay.engines.converter:convert_job",
                {"model": str(folder), "out": str(reference), "cache": str(cache), "outtype": "f32"},
                threads=1,
                on_progress=on_progress("convert trained weights"),
            )
        steps.append(step("convert the trained weights", again, None))
    quantized = process.run(
        f"{METHODS[recipe.format]}:quantize_job",
        {
            "recipe": recipe.body(), "reference": str(reference), "model": str(sources.model),
            "calibration": str(sources.calibration), "out": str(target),
        },
        threads=recipe.threads,
        on_progress=on_progress("quantize"),
    )  # fmt: skip
    made = Artifact.model_validate(quantized.value)
    differences = None
    if made.sha256 != artifact.sha256 and package.artifact_path is not None:
        payload = {"recorded": str(package.artifact_path), "made": str(target), "reference": str(reference)}
        job = "quantplay.handoff.tensor_differences:differences_job"
        differences = differences_of(process.run(job, payload, threads=1, on_progress=on_progress("compare")).value)
    return ReplayReport(
        path=path, run=package.run, type=recipe.type, recorded=artifact.sha256, made=made.sha256, size_bytes=made.size_bytes,
        steps=(
            *steps,
            step(
                "importance matrix and quantize" if recipe.importance_matrix else "quantize", quantized,
                made.importance_matrix == artifact.importance_matrix if recipe.importance_matrix else None,
            ),
        ),
        stack=stack, types=different_types(artifact.tensors, made.tensors), files=differences, out=str(out) if out else None,
    )  # fmt: skip


def folder_made_again(
    package: Package, sources: Sources, scratch: Path, stack: tuple[StackDifference, ...], path: str, out: Path | None,
    on_progress: Callable[[str], Report],
) -> ReplayReport:  # fmt: skip
    """The same for a format that is a folder: nothing is converted, and full precision is the source as one file."""
    recipe, artifact = package.recipe, package.artifact
    reference, target = scratch / "reference.tar", out or scratch / "made.tar"
    started = time.perf_counter()
    write_model_file(sources.model, reference)
    packed = Step(
        name="full precision as one file", seconds=round(time.perf_counter() - started, 3),
        peak_resident_bytes=process.peak_resident_bytes(), same=digest_of_file(reference) == package.reference,
    )  # fmt: skip
    reference.unlink()
    payload = {
        "recipe": recipe.body(), "model": str(sources.model), "calibration": str(sources.calibration), "out": str(target),
        **({"weights": str(sources.trained), "scratch": str(scratch)} if sources.trained is not None else {}),
    }  # fmt: skip
    quantized = process.run(
        f"{METHODS[recipe.format]}:quantize_job", payload, threads=recipe.threads, on_progress=on_progress("quantize")
    )
    made = Artifact.model_validate(quantized.value)
    return ReplayReport(
        path=path, run=package.run, type=recipe.type, recorded=artifact.sha256, made=made.sha256, size_bytes=made.size_bytes,
        steps=(packed, step("quantize", quantized, None)), stack=stack,
        types=different_types(artifact.tensors, made.tensors), files=None, out=str(out) if out else None,
    )  # fmt: skip


def step(name: str, outcome: Outcome, same: bool | None) -> Step:
    peak = outcome.peak_resident_bytes
    return Step(name=name, seconds=round(outcome.seconds, 3), peak_resident_bytes=peak, same=same)


def different_types(recorded: dict[str, str], made: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    names = sorted(recorded.keys() | made.keys())
    pairs = ((name, recorded.get(name, "none"), made.get(name, "none")) for name in names)
    return tuple(pair for pair in pairs if pair[1] != pair[2])


# --- reading the package -------------------------------------------------------------------------------------------


def verified(folder: Path, named: Path) -> Package:
    """The package's records, after nothing but a missing artifact was found to speak against it."""
    report = harmless(verify_folder_apart(folder, named, {"manifest_digest": None}))
    taken_out = [fault for fault in report.problems if is_missing_artifact(fault)]
    if len(taken_out) < len(report.problems):
        problems = [fault for fault in report.problems if fault not in taken_out]
        fix = "ask for the package again"
        raise IntegrityError("this package does not verify, so it is not replayed", faults=problems, fix=fix)

    def read(name: str) -> Any:
        return json.loads((folder / name).read_bytes())

    recipe = Recipe.model_validate(read(layout.RECIPE))
    require_replayable(recipe)
    artifact = Artifact.model_validate(read(layout.ARTIFACT))
    return Package(
        run=report.run or "",
        inputs=Inputs.model_validate(read(layout.INPUTS)),
        recipe=recipe,
        artifact=artifact,
        measured_on=Fingerprint.model_validate(read(layout.EVALUATION)["record"]["fingerprint"]),
        reference=read(layout.BASELINE)["record"]["reference"]["model"],
        artifact_path=None if taken_out else folder / layout.ARTIFACT_FOLDER / artifact.file_name,
    )


def is_missing_artifact(fault: Fault) -> bool:
    return fault.what == MISSING and fault.where.startswith(f"{layout.ARTIFACT_FOLDER}/")


def require_replayable(recipe: Recipe) -> None:
    """Raise InputError on a recipe that asks for what this version can't do, or for what nobody should."""
    if recipe.imported is not None:
        raise InputError(
            "this artifact was quantized elsewhere and imported, so there is nothing to make it again with", value=f"sha256 {recipe.imported}",
            allowed="a package whose artifact quantplay made",
            fix="`quantplay verify` checks that its bytes are those that were imported and judged",
        )  # fmt: skip
    known = {name: kind for name, kind in TYPES.items() if kind.format == recipe.format}
    if recipe.format not in METHODS or recipe.type not in known or recipe.method != method_of(recipe):
        raise InputError(
            "this recipe can't be replayed", value=f"{recipe.method}: {recipe.format} {recipe.type}",
            allowed=f"{method_of(recipe) or METHOD}: {', '.join(METHODS)} {', '.join(known)}",
            fix="install the quantplay that made it: see run.json",
        )  # fmt: skip
    if not 1 <= recipe.threads <= MOST_THREADS:
        raise InputError(
            "the recipe asks for an absurd number of threads", value=recipe.threads, allowed=f"1 to {MOST_THREADS}"
        )


def method_of(recipe: Recipe) -> str | None:
    """How this version makes the recipe's type; None where it does not know it."""
    if recipe.format == "gguf" or recipe.format not in METHODS:
        return METHOD
    if recipe.trained is not None:
        return ROUNDED if recipe.format == "compressed-tensors" else None
    return method(recipe.format).METHODS.get(recipe.type)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder below `parent`, gone at the end."""
    try:
        folder = claim_scratch(parent)
    except OSError as error:
        raise unwritable(parent, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def silent(_step: str) -> Report:
    return lambda done, total, text: None
