"""From master weights to the served file: rounded once, and every integer compared with the one that training simulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.engines.transformers_model import load_model
from quantplay.errors import Fault, IntegrityError
from quantplay.qat.formats import Sources, format_of
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.served import codes_of, grids_of
from quantplay.quantizers.trained import trained_folder
from quantplay.records import Artifact, Recipe

if TYPE_CHECKING:
    import numpy as np

Report = Callable[[int, int, str], None]


def export_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job of quantplay.process. Returns the body of the artifact.

    payload: recipe (body, with `trained`), model (the source's folder), reference (its full-precision file in the serving format;
    left out where nothing is converted), calibration, weights (the master weights' file), out, cache, scratch (an existing
    folder), kept (folder of importance matrices measured before; left out: scratch). Raises IntegrityError where one served
    integer is not the simulated one.
    """
    recipe = Recipe.model_validate(payload["recipe"])
    out, scratch, weights = Path(payload["out"]), Path(payload["scratch"]), Path(payload["weights"])
    sources = Sources(
        model=Path(payload["model"]), reference=Path(payload["reference"]) if payload.get("reference") else None,
        calibration=Path(payload["calibration"]), kept=Path(payload.get("kept") or scratch), cache=Path(payload["cache"]),
    )  # fmt: skip
    artifact = format_of(recipe.format).make(recipe, sources, weights=weights, scratch=scratch, out=out, report=report)
    report(2, 3, "comparing what is served with what was simulated")
    compared = require_simulated(recipe, artifact, sources, weights=weights, scratch=scratch, served=out)
    report(3, 3, f"{compared:,} tensors are what training simulated")
    return artifact.body()


def require_simulated(
    recipe: Recipe, artifact: Artifact, sources: Sources, *, weights: Path, scratch: Path, served: Path
) -> int:
    """Number of tensors compared, byte for byte. Raises IntegrityError with every tensor of the file `served` that differs.

    Which row belongs where is read off the source model, as in training; the trained weights play no part in it.
    """
    assert recipe.trained is not None
    form = format_of(recipe.format)
    places = form.places(load_model(sources.model), sources, artifact.tensors)
    grids = grids_of(places, recipe.format, form.importance(recipe, sources, None))
    with trained_folder(sources.model, weights, recipe.trained, scratch) as folder:
        parameters = numpy_parameters(load_model(folder))
    found = [
        different(place.tensor, codes_of(place, grids[place.tensor], parameters), data)
        for place, data in form.stored(served, places)
    ]
    faults = [fault for fault in found if fault is not None]
    if faults:
        raise IntegrityError(
            "the served file is not what training simulated", faults=faults,
            fix="report this as a bug of ours; don't serve the file",
        )  # fmt: skip
    return len(found)


def different(tensor: str, simulated: np.ndarray, stored: np.ndarray) -> Fault | None:
    """Where the stored bytes of a tensor are not the grid's. Both uint8 (rows, bytes of a row)."""
    if stored.shape == simulated.shape and (stored == simulated).all():
        return None
    count = int((stored != simulated).sum()) if stored.shape == simulated.shape else stored.size
    return Fault(where=tensor, what="differs from its simulation", value=f"{count:,} of {stored.size:,} bytes")
