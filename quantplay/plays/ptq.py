"""Play 3, post-training quantization: from the full-precision file to the artifact, in the serving format at once."""

from __future__ import annotations

from pathlib import Path

from quantplay import process
from quantplay.engines.converter import ensure_converter
from quantplay.engines.model_file import SUFFIX
from quantplay.formats import FORMATS
from quantplay.plan import Plan
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.quantizers import METHODS, method
from quantplay.quantizers.folder_recipe import NO_CONVERTER
from quantplay.records import Artifact, Candidate, Inputs, Recipe


def recipe_for(plan: Plan, candidate: Candidate, inputs: Inputs, *, threads: int, cache: Path) -> Recipe:
    """Everything that determines the artifact of `candidate`, before it is made."""
    converter = ensure_converter(cache).digest if candidate.format == "gguf" else NO_CONVERTER
    return method(candidate.format).build_recipe(plan, candidate.type, inputs, threads=threads, converter=converter)


def file_name(plan: Plan, candidate: Candidate) -> str:
    """What the artifact is called: a folder is kept as one file."""
    return f"{plan.name}-{candidate.type}{FORMATS[candidate.format].suffix or SUFFIX}"


def quantize(
    recipe: Recipe,
    pinned: Pinned,
    *,
    reference: Path,
    out: Path,
    kept: Path | None = None,
    on_progress: Report | None = None,
) -> Artifact:
    """Make the artifact of `recipe` at `out` in a child process. kept: folder of importance matrices measured before."""
    outcome = process.run(
        f"{METHODS[recipe.format]}:quantize_job",
        {
            "recipe": recipe.body(),
            "reference": str(reference),
            "model": str(pinned.paths.model),
            "calibration": str(pinned.paths.calibration),
            "out": str(out),
            **({"kept": str(kept)} if kept else {}),
        },
        threads=recipe.threads,
        on_progress=on_progress,
    )
    return Artifact.model_validate(outcome.value)
