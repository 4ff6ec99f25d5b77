"""From master weights to the served file: rounded once, and every integer compared with the one that training simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quantplay.digest import digest_of_file
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.tensor_names import gguf_names
from quantplay.engines.transformers_model import load_model
from quantplay.errors import Fault, IntegrityError
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.places import Place, places_of
from quantplay.qat.served import codes_of, grids_of
from quantplay.quantizers.gguf import importance_of, quantize
from quantplay.records import Digest, Recipe

Report = Callable[[int, int, str], None]
WEIGHTS = "model.safetensors"
REPLACED = (".safetensors", ".safetensors.index.json")


@contextmanager
def trained_folder(model: Path, weights: Path, wanted: Digest, scratch: Path) -> Iterator[Path]:
    """A model folder of links: the source's configuration and tokenizer with the trained weights. Gone at the end.

    Raises IntegrityError where `weights` is not the file of digest `wanted`.
    """
    found = digest_of_file(weights) if weights.is_file() else "no such file"
    if found != wanted:
        raise IntegrityError(
            "these are not the trained weights the recipe names", value=f"{weights}: sha256 {found}", allowed=f"sha256 {wanted}",
            fix="restore them from the artifact store, or train again",
        )  # fmt: skip
    with TemporaryDirectory(prefix="trained-", dir=scratch) as name:
        (folder := Path(name) / "model").mkdir()
        for path in sorted(model.iterdir()):
            if path.is_file() and not path.name.endswith(REPLACED):
                (folder / path.name).symlink_to(path.resolve())
        (folder / WEIGHTS).symlink_to(weights.resolve())
        yield folder


def export_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job of quantplay.process. Returns the body of the artifact.

    payload: recipe (body, with `trained`), model (the source's folder), reference (its full-precision GGUF), calibration, weights
    (the master weights' file), out, cache, scratch (an existing folder), kept (folder of importance matrices measured before; left
    out: scratch). Raises IntegrityError where one served integer is not the
    simulated one.
    """
    recipe = Recipe.model_validate(payload["recipe"])
    model, out, scratch = Path(payload["model"]), Path(payload["out"]), Path(payload["scratch"])
    assert recipe.trained is not None
    kept = Path(payload.get("kept") or scratch)
    with trained_folder(model, Path(payload["weights"]), recipe.trained, scratch) as folder:
        report(0, 3, "converting the trained weights")
        full_precision = folder.with_name("trained-f32.gguf")
        convert(ensure_converter(Path(payload["cache"])), folder, full_precision)
        report(1, 3, "rounding them to the served types")
        artifact = quantize(
            recipe,
            reference_gguf=full_precision,
            model_folder=model,
            calibration_file=Path(payload["calibration"]),
            out=out,
            kept=kept,
        )
        report(2, 3, "comparing what is served with what was simulated")
        matrix = importance_of(recipe, model, Path(payload["calibration"]), None, kept)
        compared = require_simulated(
            out, artifact.tensors, model=model, reference=Path(payload["reference"]), trained=folder,
            importance=matrix.values if matrix else {},
        )  # fmt: skip
        report(3, 3, f"{compared:,} tensors are what training simulated")
    return artifact.body()


def require_simulated(
    served: Path,
    kinds: Mapping[str, str],
    *,
    model: Path,
    reference: Path,
    trained: Path,
    importance: Mapping[str, np.ndarray],
) -> int:
    """Number of tensors compared, byte for byte. Raises IntegrityError with every tensor of the GGUF file `served` that differs.

    Which row belongs where is read off the source model and its `reference`, as in training; the trained weights play no part in it.
    """
    source: Any = load_model(model)
    places = places_of(reference, kinds, numpy_parameters(source), gguf_names(source))
    parameters = numpy_parameters(load_model(trained))
    different = different_tensors(served, places, parameters, importance)
    if different:
        raise IntegrityError(
            "the served file is not what training simulated", faults=different,
            fix="report this as a bug of ours; don't serve the file",
        )  # fmt: skip
    return len(places)


def different_tensors(
    served: Path, places: tuple[Place, ...], parameters: Mapping[str, np.ndarray], importance: Mapping[str, np.ndarray]
) -> list[Fault]:
    """A fault a tensor whose stored bytes are not the grid's."""
    import gguf

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(served).tensors}
    grids = grids_of(places, "gguf", importance)
    faults = []
    for place in places:
        data = np.ascontiguousarray(stored[place.tensor].data)
        simulated = codes_of(place, grids[place.tensor], parameters)
        bytes_ = data.reshape(-1, data.shape[-1]).view(np.uint8)
        if bytes_.shape != simulated.shape or not np.array_equal(bytes_, simulated):
            count = np.count_nonzero(bytes_ != simulated) if bytes_.shape == simulated.shape else bytes_.size
            faults.append(
                Fault(
                    where=place.tensor, what="differs from its simulation", value=f"{count:,} of {bytes_.size:,} bytes"
                )
            )
    return faults
