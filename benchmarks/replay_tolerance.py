"""What the tolerance of a replay on another stack tells apart: rounding in the importance matrix from another importance matrix.

The pilot is quantized again with each value of its importance matrix changed by a relative 1e-6 and 1e-4 (float32 holds 7 digits; other
processors and libraries add up in another order), and with the importance matrix of half the calibration texts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.playground import PILOT
from benchmarks.report import Goal, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.formats import TYPES
from quantplay.handoff.tensor_differences import TOLERANCE, differences_job, differences_of
from quantplay.quantizers.importance import ImportanceMatrix, calibration_texts, measure_importance
from quantplay.settings import settings

KINDS, QUICK_KINDS = ("Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"), ("Q4_K_M",)
ROUNDING = (1e-6, 1e-4)
TEXTS, TOKENS = 16, 64


def rounded(matrix: ImportanceMatrix, relative: float) -> dict[str, np.ndarray]:
    """Every value changed by a normal deviate times `relative`."""
    dice = np.random.default_rng(0)
    return {
        name: np.maximum(0, values * (1 + relative * dice.standard_normal(values.shape))).astype(np.float32)
        for name, values in matrix.values.items()
    }


def largest_distance(recorded: Path, made: Path, reference: Path) -> float:
    """Of any tensor, as a share of what quantization itself changed."""
    payload = {"recorded": str(recorded), "made": str(made), "reference": str(reference)}
    found = differences_of(differences_job(payload, lambda *_: None))
    return max((one.distance or 0.0 for one in found.tensors), default=0.0)


def main() -> int:
    kinds = QUICK_KINDS if quick_asked() else KINDS
    model = PILOT / "model"
    texts = calibration_texts(PILOT / "calibration" / "traffic.jsonl", TEXTS)
    with tempfile.TemporaryDirectory(prefix="quantplay-tolerance-") as folder:
        reference = Path(folder) / "reference.gguf"
        convert(ensure_converter(settings().cache), model, reference)
        matrix = measure_importance(model, texts, tokens=TOKENS, threads=1)
        half = measure_importance(model, texts[::2], tokens=TOKENS, threads=1)
        variants = {f"rounding {relative:g}": rounded(matrix, relative) for relative in ROUNDING}
        variants["half the texts"] = half.values
        distances: dict[str, dict[str, float]] = {}
        for kind in kinds:
            ftype = TYPES[kind].ftype
            assert ftype is not None
            recorded, made = Path(folder) / "recorded.gguf", Path(folder) / "made.gguf"
            quantize_file(reference, recorded, ftype=ftype, threads=1, importance=matrix.values)
            distances[kind] = {}
            for name, values in variants.items():
                quantize_file(reference, made, ftype=ftype, threads=1, importance=values)
                distances[kind][name] = largest_distance(recorded, made, reference)
    print("largest distance of a tensor, as a share of what quantization itself changed")
    print_table(("type", *variants), [(kind, *row.values()) for kind, row in distances.items()])
    noise = max(row[name] for row in distances.values() for name in row if name.startswith("rounding"))
    other = min(row["half the texts"] for row in distances.values())
    goals = {
        "rounding_stays_within": Goal(noise, f"<= {TOLERANCE:g}", noise <= TOLERANCE),
        "other_calibration_goes_beyond": Goal(other, f"> {TOLERANCE:g}", other > TOLERANCE),
    }
    return finish("replay_tolerance", {"tolerance": TOLERANCE, "distances": distances}, goals)


if __name__ == "__main__":
    sys.exit(main())
