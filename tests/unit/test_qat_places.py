"""Where served rows lie among parameters, read off the numbers: reordered, stacked, joined and repeated rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from quantplay.errors import InputError
from quantplay.qat.places import Place, places_of
from quantplay.qat.served import codes_of, grids_of, parts_of, round_part

HIDDEN = 32
RANDOM = np.random.default_rng(0)


def matrix(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def file_of(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for name, data in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def parameters() -> dict[str, np.ndarray]:
    embedding = matrix(16, HIDDEN)
    embedding[5:9] = 0  # tokens that were never seen
    return {
        "embed": embedding, "q": matrix(8, HIDDEN), "experts": matrix(3, 12, HIDDEN), "norm": matrix(HIDDEN),
        "shifted": matrix(HIDDEN),
    }  # fmt: skip


@pytest.fixture(scope="module")
def tensors(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a converter makes of them: rows of q reordered, the joined experts taken apart, one norm changed."""
    return {
        "token_embd.weight": parameters["embed"],
        "blk.0.attn_q.weight": parameters["q"][[0, 4, 1, 5, 2, 6, 3, 7]],
        "blk.0.ffn_gate_exps.weight": parameters["experts"][:, :6],
        "blk.0.ffn_up_exps.weight": parameters["experts"][:, 6:],
        "output_norm.weight": parameters["norm"],
        "blk.0.attn_norm.weight": parameters["shifted"] + 1,
    }


KINDS = {
    "token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_0", "blk.0.ffn_gate_exps.weight": "Q4_0",
    "blk.0.ffn_up_exps.weight": "Q5_0", "output_norm.weight": "F32", "blk.0.attn_norm.weight": "F32",
}  # fmt: skip
NAMES = {
    "embed": "token_embd.weight",
    "q": "blk.0.attn_q.weight",
    "norm": "output_norm.weight",
    "shifted": "blk.0.attn_norm.weight",
}


@pytest.fixture(scope="module")
def places(
    parameters: dict[str, np.ndarray], tensors: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Place, ...]:
    path = file_of(tmp_path_factory.mktemp("places") / "f32.gguf", tensors)
    return places_of(path, KINDS, parameters, NAMES)


def test_rows_are_found_whatever_became_of_their_order(
    places: tuple[Place, ...], tensors: dict[str, np.ndarray]
) -> None:
    assert {place.tensor for place in places} == KINDS.keys() - {"blk.0.attn_norm.weight"}
    found = {place.tensor: place for place in places}
    assert found["blk.0.attn_q.weight"].pieces[0].rows.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert [piece.expert for piece in found["blk.0.ffn_up_exps.weight"].pieces] == [0, 1, 2]
    assert found["token_embd.weight"].pieces[0].rows.tolist() == list(range(16))


def test_other_numbers_at_the_same_places_give_the_bytes_of_the_file(
    places: tuple[Place, ...], tensors: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> None:
    """As after training: the same rearrangement of new weights, rounded by gguf's own numpy code, is what we say is served."""
    trained = {name: one * 0.7 + 0.1 for name, one in parameters.items()}
    served = {
        "token_embd.weight": trained["embed"], "blk.0.attn_q.weight": trained["q"][[0, 4, 1, 5, 2, 6, 3, 7]],
        "blk.0.ffn_gate_exps.weight": trained["experts"][:, :6], "blk.0.ffn_up_exps.weight": trained["experts"][:, 6:],
        "output_norm.weight": trained["norm"],
    }  # fmt: skip
    grids = grids_of(places, "gguf", {})
    for place in places:
        kind = gguf.GGMLQuantizationType[place.kind]
        oracle = gguf.quants.quantize(served[place.tensor].astype(np.float32).reshape(-1, HIDDEN), kind)
        np.testing.assert_array_equal(codes_of(place, grids[place.tensor], trained), oracle.view(np.uint8))


def test_parameters_rounded_in_place_hold_what_is_served(
    places: tuple[Place, ...], parameters: dict[str, np.ndarray]
) -> None:
    grids = grids_of(places, "gguf", {})
    rounded = {name: one.copy() for name, one in parameters.items()}
    for part in parts_of(places, grids):
        round_part(part, parameters[part.parameter], rounded[part.parameter])
    np.testing.assert_array_equal(rounded["norm"], parameters["norm"])
    q5 = gguf.GGMLQuantizationType.Q5_0
    up = gguf.quants.dequantize(gguf.quants.quantize(parameters["experts"][:, 6:].reshape(-1, HIDDEN), q5), q5)
    np.testing.assert_array_equal(rounded["experts"][:, 6:].reshape(-1, HIDDEN), up)
    assert all(not np.array_equal(rounded[name], parameters[name]) for name in ("embed", "q", "experts"))


def test_changed_numbers_and_two_types_for_one_row_are_refused(
    parameters: dict[str, np.ndarray], tensors: dict[str, np.ndarray], tmp_path: Path
) -> None:
    changed = file_of(tmp_path / "changed.gguf", {**tensors, "blk.0.attn_q.weight": tensors["blk.0.attn_q.weight"] * 2})
    with pytest.raises(InputError, match=r"blk\.0\.attn_q\.weight: its rows are in no parameter"):
        places_of(changed, KINDS, parameters, NAMES)
    twice = {"token_embd.weight": parameters["embed"], "output.weight": parameters["embed"]}
    names = {"embed": "token_embd.weight"}
    path = file_of(tmp_path / "twice.gguf", twice)
    with pytest.raises(
        InputError, match=r"shares its weights with token_embd\.weight.*Q4_0 and Q8_0|shares its weights"
    ):
        places_of(path, {"token_embd.weight": "Q4_0", "output.weight": "Q8_0"}, parameters, names)
    assert len(places_of(path, dict.fromkeys(twice, "Q8_0"), parameters, names)) == 2
    with pytest.raises(InputError, match="is not in the full-precision file"):
        places_of(path, {**dict.fromkeys(twice, "Q8_0"), "blk.9.attn_q.weight": "Q4_0"}, parameters, names)
