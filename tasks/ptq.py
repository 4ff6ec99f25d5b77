"""Play 3: the artifact, written directly in the serving format."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from quantplay.plays import keys
from quantplay.plays.ptq import file_name, quantize, recipe_for
from quantplay.records import Artifact, Candidate, Digest
from tasks.artifacts import make_once
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.reference import full_precision
from tasks.workbench import RunRef, workbench


@task(name="ptq", **PLAY)
def ptq(run: RunRef, candidate: Candidate) -> Digest:
    """Quantize to the candidate's type (or look it up); returns the key of the Artifact."""
    bench, plan = workbench(), run.read()
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
