"""An override that is in the file but not in the recipe is found and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quantize_models import even_importance, number_of, recipe, write_random_gguf

from quantplay.engines.llama_quantize import quantize_file
from quantplay.quantizers.overrides import undocumented_overrides


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_gguf(
        tmp_path_factory.mktemp("overrides") / "m.gguf",
        layers=9,
        heads=4,
        key_value_heads=2,
        hidden=256,
        intermediate=512,
    )


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q3_K_S", "IQ4_XS", "IQ2_M", "Q8_0", "Q2_K"])
@pytest.mark.parametrize("importance", [False, True])
def test_what_the_quantizer_writes_follows_from_the_recipe(
    kind: str, importance: bool, source: Path, tmp_path: Path
) -> None:
    given = importance or kind.startswith("IQ2")
    matrix: dict[str, np.ndarray] | None = even_importance(source) if given else None
    overrides = {r"blk\.3\.ffn_up": "Q8_0"}
    plain, overridden = tmp_path / "plain.gguf", tmp_path / "overridden.gguf"
    quantize_file(source, plain, ftype=number_of(kind), threads=1, importance=matrix)
    quantize_file(
        source,
        overridden,
        ftype=number_of(kind),
        threads=1,
        importance=matrix,
        tensor_types={"blk.3.ffn_up.weight": "Q8_0"},
    )
    documented = recipe(kind, importance=given, tensor_types=overrides)
    silent = recipe(kind, importance=given)
    assert undocumented_overrides(silent, plain) == []
    assert undocumented_overrides(documented, overridden) == []
    if kind != "Q8_0":
        (found,) = undocumented_overrides(silent, overridden)
        assert (found.where, found.value) == ("blk.3.ffn_up.weight", "Q8_0")
        (missing,) = undocumented_overrides(documented, plain)
        assert (missing.where, missing.allowed) == ("blk.3.ffn_up.weight", "Q8_0")


def test_another_type_than_the_recipes_is_found_tensor_by_tensor(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    quantize_file(source, out, ftype=number_of("Q5_K_M"), threads=1)
    found = undocumented_overrides(recipe("Q4_K_M"), out)
    assert len(found) >= 9 * 4
    assert {"blk.0.attn_q.weight", "blk.8.ffn_up.weight"} <= {fault.where for fault in found}
