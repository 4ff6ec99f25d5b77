"""The source model converted at full precision into the serving format: what quantization starts from and is compared with."""

from __future__ import annotations

from pathlib import Path

from quantplay.engines.model_file import SUFFIX
from quantplay.formats import loads_gguf
from quantplay.plays.reference import convert_reference, reference_recipe
from quantplay.records import Artifact
from tasks.artifacts import local_copy, stored
from tasks.progress import reporter
from tasks.workbench import RunRef, workbench


def full_precision(run: RunRef) -> Path:
    """Local path of the full-precision file, converted at most once for each model and converter."""
    bench = workbench()
    runtime = run.read().envelope.runtime
    recipe = reference_recipe(run.inputs, bench.settings.cache, runtime)
    name = "reference-f32.gguf" if loads_gguf(runtime) else f"reference{SUFFIX}"

    def make(out: Path) -> Artifact:
        return convert_reference(
            recipe, run.pinned(), out=out, cache=bench.settings.cache, on_progress=reporter("convert")
        )

    key = recipe.digest()
    with bench.store.run_lock(f"reference {key}"):
        return local_copy(stored(key, recipe, make, name))
