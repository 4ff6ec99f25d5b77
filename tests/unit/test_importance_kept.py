"""An importance matrix is measured once for all that determines it, and again where the kept one is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from factories import digest, made_inputs, made_recipe

from quantplay.quantizers.importance import ImportanceMatrix
from quantplay.quantizers.importance_kept import kept_file, kept_or_measured, measured_with

RECIPE = made_recipe(made_inputs(), "Q4_K_M")
ASKED = {"samples": 16, "tokens": 64, "threads": 1}


class Measuring:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> ImportanceMatrix:
        self.times += 1
        return ImportanceMatrix(values={"blk.0.attn_q.weight": np.arange(4, dtype=np.float32)}, samples=16, tokens=99)


def test_it_is_measured_once(tmp_path: Path) -> None:
    measure, file = Measuring(), kept_file(tmp_path / "home" / "importance", measured_with(RECIPE), **ASKED)
    first, second = kept_or_measured(file, measure), kept_or_measured(file, measure)
    assert measure.times == 1
    assert first.digest() == second.digest()
    file.write_bytes(b"cut short")
    assert kept_or_measured(file, measure).digest() == first.digest()
    assert kept_or_measured(file, measure).digest() == first.digest()
    assert measure.times == 2
    assert kept_or_measured(None, measure).digest() == first.digest(), "without a folder nothing is kept"


@pytest.mark.parametrize(
    "other",
    [
        ({"model": digest("other")}, {}), ({"calibration": digest("other")}, {}), ({"versions": {"torch": "3"}}, {}),
        ({}, {"samples": 17}), ({}, {"tokens": 65}), ({}, {"threads": 2}),
    ],
)  # fmt: skip
def test_what_determines_it_names_it(other: tuple[dict[str, object], dict[str, int]], tmp_path: Path) -> None:
    recipe, asked = other
    file = kept_file(tmp_path, measured_with(RECIPE), **ASKED)
    assert file != kept_file(tmp_path, measured_with(RECIPE.model_copy(update=recipe)), **{**ASKED, **asked})
    same = RECIPE.model_copy(update={"type": "Q2_K", "trained": "a" * 64, "threads": 9})
    assert file == kept_file(tmp_path, measured_with(same), **ASKED), "mixes and trained weights take the same"
