"""Play 5: how much each group suffers, which types win the most for the bytes, and the artifact of that mix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.converter import ensure_converter
from quantplay.engines.model_file import SUFFIX
from quantplay.envelope.jobs import LESS_TO_SCAN, require_memory, scan_bytes
from quantplay.envelope.shape import read_shape
from quantplay.errors import IntegrityError
from quantplay.formats import FORMATS, TYPES
from quantplay.mixed.assemble import assemble
from quantplay.mixed.sensitivity import SERVED
from quantplay.mixed.simulate import versions
from quantplay.plays import keys
from quantplay.plays.mixed_precision import choose_mix, recipe_of
from quantplay.plays.mixing import budget_bytes, ladder, parts_of_scan
from quantplay.plays.ptq import quantize
from quantplay.quantizers.folder_recipe import NO_CONVERTER
from quantplay.quantizers.importance_kept import measured_with
from quantplay.quantizers.layer_types import quantized_layers
from quantplay.records import Artifact, Digest, MixChoice, Recipe, ScanPart, Sensitivity
from tasks.artifacts import local_copy, make_once
from tasks.device import on_device
from tasks.leftovers import remove_recorded
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.recorded import recorded, recorded_artifact, refused, require_of_run
from tasks.reference import full_precision
from tasks.showing import show_mix, show_sensitivity
from tasks.workbench import RunRef, once, workbench

SCANS, MIXES = "scans", "mixes"  # below the home folder: what would be lost with a killed play


@task(name="sensitivity", **PLAY)
def sensitivity(run: RunRef, artifact_key: Digest) -> Digest:
    """Measure what every group loses as every type, in one part (or look it up); returns the key of the Sensitivity."""
    key = sensitivity_key(run, artifact_key)

    def make() -> Sensitivity:
        return assemble([scanned(run, artifact_key, key, 0, 1)])

    found = once(run, "sensitivity", key, find=workbench().store.get_sensitivity, make=on_device(run, "scan", make))
    show_sensitivity(found)
    sweep()
    return key


@task(name="scan", **PLAY)
def scan_part(run: RunRef, artifact_key: Digest, part: int, parts: int) -> Digest:
    """Measure one of `parts` parts of a scan that several workers share; returns the key of the ScanPart."""
    scan = sensitivity_key(run, artifact_key)
    measured_by = versions(SERVED[artifact_of_run(run, artifact_key)[0].format].packages)
    key = keys.scan_part_key(scan, part, parts, {**measured_by, "cpu": workbench().fingerprint.hardware.cpu})

    def make() -> ScanPart:
        measured = scanned(run, artifact_key, scan, part, parts)
        return ScanPart(scan=scan, part=part, parts=parts, measured=measured)

    sweep()
    once(run, "scan", key, find=workbench().store.get_scan_part, make=on_device(run, "scan", make))
    return key


@task(name="sensitivity", **PLAY)
def sensitivity_of_parts(run: RunRef, artifact_key: Digest, part_keys: Sequence[Digest]) -> Digest:
    """Put the parts of a scan together; returns the key of the Sensitivity."""
    store, key = workbench().store, sensitivity_key(run, artifact_key)

    def make() -> Sensitivity:
        parts = [part for one in part_keys if (part := store.get_scan_part(one)) is not None]
        return assemble([part.measured for part in parts])

    show_sensitivity(once(run, "sensitivity", key, find=store.get_sensitivity, make=make))
    sweep()
    return key


def sensitivity_key(run: RunRef, artifact_key: Digest) -> Digest:
    short, recipe = artifact_of_run(run, artifact_key)
    return keys.sensitivity_key(run.read(), run.inputs, recipe, ladder(run.read(), short))


def scan_parts(run: RunRef, artifact_key: Digest) -> int:
    """In how many parts workers share the scan: always the same for an artifact."""
    return parts_of_scan(artifact_of_run(run, artifact_key)[0])


def artifact_of_run(run: RunRef, key: Digest) -> tuple[Artifact, Recipe]:
    short, recipe = recorded_artifact(key)
    require_of_run("artifact", key, found=recipe.model, run=run)
    return short, recipe


def scanned(run: RunRef, artifact_key: Digest, scan: Digest, part: int, parts: int) -> dict[str, Any]:
    """One part of the scan, in a child process. What is measured is on the disk: a scan that was killed goes on from there.

    Raises InputError where it would not fit into what is free here.
    """
    plan, paths = run.read(), run.pinned().paths
    short, recipe = artifact_of_run(run, artifact_key)
    types, mixing = ladder(plan, short), plan.mixing
    needed = scan_bytes(read_shape(paths.model), sequences=mixing.sequences, tokens=mixing.tokens, types=len(types))
    require_memory("scan", needed, fix=LESS_TO_SCAN)
    if short.format == "gguf":
        rounded = {"importance": True, "kept": str(workbench().importance), "measured_with": measured_with(recipe)}
    else:
        rounded = {"layers": list(quantized_layers(short.format, short.tensors))}
    outcome = process.run(
        "quantplay.mixed.sensitivity:scan_job",
        {
            "model": str(paths.model), "reference": str(full_precision(run)), "calibration": str(paths.calibration),
            "samples": plan.calibration.samples, "sample_tokens": plan.calibration.tokens, **rounded,
            "types": list(types), "base": None, "sequences": mixing.sequences,
            "tokens": mixing.tokens, "threads": recipe.threads, "journal": str(journal(scan)),
            "part": part, "parts": parts,
        },
        threads=recipe.threads, on_progress=reporter("scan"),
    )  # fmt: skip
    return outcome.value


def journal(scan: Digest) -> Path:
    """Where this machine keeps the finished measurements of a scan."""
    folder = workbench().settings.home / SCANS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{scan}.jsonl"


def sweep() -> None:
    """Remove what this machine kept for scans and mixes that are recorded by now, also where another machine recorded them."""
    bench = workbench()
    remove_recorded(bench.settings.home / SCANS, bench.store.get_sensitivity)
    remove_recorded(bench.settings.home / MIXES, bench.store.get_mix)


@task(name="mix", **PLAY)
def mix(run: RunRef, sensitivity_key: Digest, artifact_key: Digest, envelope_key: Digest) -> Digest:
    """Choose every group's type within the budget, by mixes made and measured (or look it up); returns the key of the MixChoice."""
    bench, plan = workbench(), run.read()
    short, made_by = artifact_of_run(run, artifact_key)
    found = recorded("sensitivity scan", sensitivity_key, bench.store.get_sensitivity)
    envelope = recorded("envelope's choice", envelope_key, bench.store.get_envelope)
    budget = budget_bytes(plan, short, envelope)
    key = keys.mix_key(plan, run.inputs, sensitivity_key, short, budget)

    workdir = bench.settings.home / MIXES / key  # what was measured before a kill is not measured again

    def make() -> MixChoice:
        workdir.mkdir(parents=True, exist_ok=True)
        return choose_mix(
            plan, run.pinned(), sensitivity=found, short=short, short_file=lambda: local_copy(short), budget_bytes=budget, reference=full_precision(run),
            workdir=workdir, made_by=made_by, kept=bench.importance, on_progress=reporter("mix"),
        )  # fmt: skip

    show_mix(once(run, "mix", key, find=bench.store.get_mix, make=on_device(run, "mix", make)))
    sweep()
    return key


@task(name="ptq", **PLAY)
def artifact_of_mix(run: RunRef, mix_key: Digest) -> Digest:
    """Make the file of the chosen mix (or look it up); returns the key of its Artifact."""
    bench, plan = workbench(), run.read()
    choice = recorded("mix", mix_key, bench.store.get_mix)
    serving = FORMATS[TYPES[choice.type].format]
    converter = ensure_converter(bench.settings.cache).digest if "llama.cpp" in serving.runtimes else NO_CONVERTER
    recipe = recipe_of(plan, choice, run.inputs, threads=choice.threads or bench.threads, converter=converter)
    key = keys.artifact_key(recipe)

    def make(out: Path) -> Artifact:
        reference = full_precision(run)
        if digest_of_file(reference) != choice.reference:
            raise refused("this mix is of another model than the run's", mix_key, f"one of the file {choice.reference}")
        made = quantize(
            recipe, run.pinned(), reference=reference, out=out, kept=bench.importance, on_progress=reporter("ptq")
        )
        if choice.threads and made.importance_matrix != choice.importance:
            raise IntegrityError(
                "the mix was measured with another importance matrix than its file was made with", value=made.importance_matrix,
                allowed=choice.importance, fix="make it on a worker with the same processor and versions, or run the plan again there",
            )  # fmt: skip
        return made

    make_once(run, key, recipe, make, f"{plan.name}-mix-{choice.type}{serving.suffix or SUFFIX}")
    return key
