"""Three models trained on Python's standard library, for benchmarks that random weights would prove nothing in. See README.md."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("grouped", "untied", "experts")
HELDOUT = HERE / "heldout.jsonl"  # id and text; no model was trained on these files
CALIBRATION = HERE / "calibration.jsonl"


def folder(name: str) -> Path:
    """The model's folder: config, tokenizer, weights in bfloat16, figures.json.

    Raises KeyError where there is no such model.
    """
    if name not in NAMES:
        raise KeyError(f"no trained model {name!r}; there are {', '.join(NAMES)}")
    return HERE / name
