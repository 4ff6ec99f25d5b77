"""Is what is served what training simulated? `python -m benchmarks.export_equality [--quick]`

The pilot is trained a few steps towards each of the grids. Then the trained weights go the whole way: for GGUF through llama.cpp's
converter and quantizer into a file, whose values are read back with gguf-py's own code; for compressed-tensors through llm-compressor
into a folder, whose integers are read back with compressed-tensors' own code and held against llm-compressor's preset on the same
weights. On the other side stand the very parameters the student computed with. Promise: 0 of them differ. `--quick` is the whole of it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.qat_lab import Lab, exactly, kinds_in
from benchmarks.report import at_most, finish, print_table
from quantplay.engines.model_file import model_folder
from quantplay.engines.transformers_model import load_model
from quantplay.formats import TYPES
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.places import Place
from quantplay.qat.served import Served, grids_of, parts_of
from quantplay.records import TrainingSettings

SETTINGS = TrainingSettings(steps=3, learning_rate=1e-3, rows=2, row_tokens=256, checkpoint_every=3, device="cpu")
GGUF = ("Q4_0", "Q3_K_M")  # one with 32 weights a block and a K-type; the mixes bring Q6_K, Q5_K and Q4_K along
GROUPED = ("W4A16",)
TEXTS = 100  # of the training file


def main() -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for kind in GGUF:
            kinds = kinds_in(lab.rounded(kind, f"ptq-{kind}"))
            lesson = lab.lesson(kinds, SETTINGS, texts=TEXTS, dev_every=40)
            result, weights = lab.trained(lesson, kind)
            places = lab.places(kinds)
            served = lab.rounded(
                kind, f"served-{kind}", source=lab.converted(weights, kind), tensor_types=exactly(kinds)
            )
            compared, different = against_file(served, places, student_values(lab, places, "gguf", weights))
            types = sorted({one for one in kinds.values() if one != "F32"})
            rows.append((f"{kind}: {', '.join(types)}", result.progress.step, compared, different, "gguf-py"))
        for kind in GROUPED:
            kinds = {
                name: kind if name.endswith("_proj.weight") else "F32" for name in lab.parameters(lab.source_weights)
            }
            lesson = lab.lesson(kinds, SETTINGS, "compressed-tensors", texts=TEXTS, dev_every=40)
            result, weights = lab.trained(lesson, kind)
            places = lab.places(kinds, "compressed-tensors")
            served = lab.rounded_folder(kind, weights)
            compared, different = against_folder(
                served,
                lab.preset_folder(kind, weights),
                places,
                student_values(lab, places, "compressed-tensors", weights),
            )
            rows.append((f"{kind}: groups of 128", result.progress.step, compared, different, "compressed-tensors"))
    print_table(("grid", "steps", "integers", "different", "read by"), rows)
    names = ("q4_0", "k_type", *(kind.lower() for kind in GROUPED))
    goals = {f"different_{name}": at_most(row[3], 0) for name, row in zip(names, rows, strict=True)}
    figures = {
        name: dict(zip(("grid", "steps", "integers", "different", "read_by"), row, strict=True))
        for name, row in zip(names, rows, strict=True)
    }
    return finish("export_equality", figures, goals)


def student_values(lab: Lab, places: Sequence[Place], serving_format: str, weights: Path) -> dict[str, np.ndarray]:
    """Parameter -> what the student computes with when its master weights are those of the file."""
    import torch

    student = load_model(lab.model)
    masters = {name: torch.from_numpy(one) for name, one in lab.parameters(weights).items()}
    with ThreadPoolExecutor(1) as pool:
        Served(student, masters, parts_of(places, grids_of(places, serving_format, {})), pool).refresh()
    return numpy_parameters(student)


def in_served_order(place: Place, values: dict[str, np.ndarray]) -> np.ndarray:
    columns = place.shape[0]
    return np.concatenate([values[piece.parameter].reshape(-1, columns)[piece.rows] for piece in place.pieces])


def against_file(file: Path, places: Sequence[Place], values: dict[str, np.ndarray]) -> tuple[int, int]:
    """Weights compared and weights that differ, over every quantized tensor of a GGUF file."""
    import gguf

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    compared = different = 0
    for place in places:
        tensor = stored[place.tensor]
        assert tensor.tensor_type.name == place.kind, place.tensor
        served = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1, place.shape[0])
        unlike = served != in_served_order(place, values)
        if place.kind == "F32":
            assert not unlike.any(), place.tensor
            continue
        compared, different = compared + unlike.size, different + int(unlike.sum())
    return compared, different


def against_folder(
    served: Path, library: Path, places: Sequence[Place], values: dict[str, np.ndarray]
) -> tuple[int, int]:
    """Weights compared and weights that differ: served integer times served scale against the student's value, and served integers
    and scales against those of `library`.
    """
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    from safetensors.torch import load_file

    with model_folder(served) as folder:
        ours, theirs = (load_file(one / "model.safetensors") for one in (folder, library))
    compared = different = 0
    for place in places:
        if place.kind not in GROUPED:
            assert (ours[place.tensor].numpy() == values[place.tensor]).all(), place.tensor
            continue
        layer, bits = place.tensor.removesuffix(".weight"), TYPES[place.kind].nominal_bits
        shape = tuple(reversed(place.shape))
        integers, other = (unpack_from_int32(one[f"{layer}.weight_packed"], bits, shape) for one in (ours, theirs))
        scales = ours[f"{layer}.weight_scale"]
        worth = (integers.float().reshape(len(scales), -1, 128) * scales[:, :, None]).reshape(shape)
        apart = (scales != theirs[f"{layer}.weight_scale"]).repeat_interleave(128, dim=1)
        unlike = (worth.numpy() != values[place.tensor]) | (integers != other).numpy() | apart.numpy()
        compared, different = compared + unlike.size, different + int(unlike.sum())
    return compared, different


if __name__ == "__main__":
    sys.exit(main())
