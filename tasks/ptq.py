"""Play 3: the artifact, written directly in the serving format."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from quantplay.plays import keys
from quantplay.plays.imports import artifact_of_import, recipe_of_import, required_import
from quantplay.plays.ptq import file_name, quantize, recipe_for
from quantplay.records import Artifact, Candidate, Digest, Import
from tasks.artifacts import make_once
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.reference import full_precision
from tasks.workbench import RunRef, workbench


@task(name="ptq", **PLAY)
def ptq(run: RunRef, candidate: Candidate) -> Digest:
    """Quantize to the candidate's type (or look it up), or take the imported file that the plan names; returns the key of the
    Artifact."""
    bench, plan = workbench(), run.read()
    if (told := required_import(bench.store, plan, run.inputs)) is not None:
        return imported(run, told, file_name(plan, candidate))
    recipe = recipe_for(plan, candidate, run.inputs, threads=bench.threads, cache=bench.settings.cache)
    key = keys.artifact_key(recipe)

    def make(out: Path) -> Artifact:
        return quantize(
            recipe,
            run.pinned(),
            reference=full_precision(run),
            out=out,
            kept=bench.importance,
            on_progress=reporter("ptq"),
        )

    make_once(run, key, recipe, make, file_name(plan, candidate))
    return key


def imported(run: RunRef, told: Import, name: str) -> Digest:
    """The very file that was imported: its bytes are in the artifact store already."""
    recipe = recipe_of_import(told, run.read(), run.inputs)
    key = keys.artifact_key(recipe)

    def make(out: Path) -> Artifact:
        workbench().artifacts.get(told.sha256, out)
        return artifact_of_import(told, recipe, name)

    make_once(run, key, recipe, make, name)
    return key
