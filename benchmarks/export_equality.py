"""Is what is served what training simulated? `python -m benchmarks.export_equality [--quick]`

The pilot is trained a few steps towards each of three grids. Then the trained weights go the whole way: for GGUF through llama.cpp's
converter and quantizer into a file, whose integers and values are read back with gguf-py's own code; for 4-bit groups of 128 through
the rounding of compressed-tensors (its package where it is installed, else its formula written out in torch). On the other side stand
the very parameters the student computed with. Promise: 0 of them differ. `--quick` is the whole of it.
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
from quantplay.engines.transformers_model import load_model
from quantplay.qat.grids import SymmetricGroups
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.places import Place
from quantplay.qat.served import Served, grids_of, parts_of
from quantplay.records import TrainingSettings

SETTINGS = TrainingSettings(steps=3, learning_rate=1e-3, rows=2, row_tokens=256, checkpoint_every=3, device="cpu")
GGUF = ("Q4_0", "Q3_K_M")  # one with 32 weights a block and a K-type; the mixes bring Q6_K, Q5_K and Q4_K along
GROUPS = "int4_g128"
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
        inside = {name: name.startswith("blk.") and "norm" not in name for name in kinds_in(lab.reference)}
        kinds = {
            name: GROUPS if one else "F32" for name, one in inside.items()
        }  # the embedding stays, as compressed-tensors does it
        lesson = lab.lesson(kinds, SETTINGS, "compressed-tensors", texts=TEXTS, dev_every=40)
        result, weights = lab.trained(lesson, GROUPS)
        places = lab.places(kinds)
        compared, different, judge = against_groups(lab, places, weights)
        rows.append((f"4-bit groups of {SymmetricGroups().group}", result.progress.step, compared, different, judge))
    print_table(("grid", "steps", "integers", "different", "read by"), rows)
    names = ("q4_0", "k_type", "groups_of_128")
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


def against_groups(lab: Lab, places: Sequence[Place], weights: Path) -> tuple[int, int, str]:
    """The same for groups of 128, integer by integer and value by value; and by whose code."""
    import torch

    values, trained = student_values(lab, places, "compressed-tensors", weights), lab.parameters(weights)
    compared = different = 0
    judge = ""
    for place in places:
        if place.kind != GROUPS:
            continue
        master = torch.from_numpy(np.ascontiguousarray(in_served_order(place, trained)))
        integers, scales, judge = compressed(master)
        simulated = in_served_order(place, values)
        served = integers.reshape(len(master), -1, 128) * scales[:, :, None]
        grid = SymmetricGroups()
        ours = grid.integers(grid.codes(master.numpy()), place.shape[0])
        unlike = (served.reshape(simulated.shape) != simulated) | (integers != ours)
        compared, different = compared + unlike.size, different + int(unlike.sum())
    return compared, different, judge


def compressed(weights: object) -> tuple[np.ndarray, np.ndarray, str]:
    """Integers (rows, columns) and scales (rows, groups) as compressed-tensors 0.19 rounds W4A16 in groups of 128."""
    import torch

    assert isinstance(weights, torch.Tensor)
    groups = weights.reshape(len(weights), -1, 128)
    low, high = groups.amin(-1), groups.amax(-1)
    try:
        from compressed_tensors.quantization import QuantizationArgs  # pyright: ignore[reportMissingImports]
        from compressed_tensors.quantization.lifecycle.forward import quantize  # pyright: ignore[reportMissingImports]
        from compressed_tensors.quantization.utils import calculate_qparams  # pyright: ignore[reportMissingImports]
    except ImportError:
        scales = torch.maximum(low.clamp(max=0).abs(), high.clamp(min=0).abs()) / 7.5
        scales = torch.where(scales == 0, torch.finfo(scales.dtype).eps, scales)
        integers = torch.clamp(torch.round(groups / scales[:, :, None]), -8, 7).reshape(weights.shape)
        return integers.numpy(), scales.numpy(), "formula"
    arguments = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=128)
    scales, zero = calculate_qparams(low, high, arguments)
    integers = quantize(weights, scales, zero, arguments, dtype=torch.int8)
    return integers.float().numpy(), scales.numpy(), "compressed-tensors"


if __name__ == "__main__":
    sys.exit(main())
