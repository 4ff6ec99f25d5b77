"""Groups of a model: every matrix in exactly one, in a fixed order, with the bytes the file has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.mixed.groups import group_bytes, group_types, groups_of
from quantplay.plays.mixing import MOST_PARTS, parts_of_scan
from quantplay.records import Artifact


def dense(blocks: int, *, tied: bool = True, columns: int = 256) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (columns, 1024), "output_norm.weight": (columns,)}
    if not tied:
        shapes["output.weight"] = (columns, 1024)
    for block in range(blocks):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            shapes[f"blk.{block}.{part}.weight"] = (columns, columns)
        shapes[f"blk.{block}.attn_norm.weight"] = (columns,)
    return shapes


def test_names_and_order_of_a_dense_model():
    names = [group.name for group in groups_of(dense(11, tied=False))]
    assert names[:5] == ["embedding", "blk.0.qkv", "blk.0.attn_output", "blk.0.gate_up", "blk.0.down"]
    assert names.index("blk.10.qkv") > names.index("blk.9.down")
    assert names[-1] == "output"
    assert len(names) == 4 * 11 + 2


def test_experts_are_groups_and_their_router_stays():
    shapes = dense(1) | {
        "blk.0.ffn_gate_exps.weight": (256, 512, 4), "blk.0.ffn_up_exps.weight": (256, 512, 4),
        "blk.0.ffn_down_exps.weight": (512, 256, 4), "blk.0.ffn_gate_inp.weight": (256, 4),
    }  # fmt: skip
    groups = {group.name: group for group in groups_of(shapes)}
    assert groups["blk.0.experts_gate_up"].tensors == ("blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight")
    assert groups["blk.0.experts_down"].weights == 512 * 256 * 4
    assert not any("inp" in name for group in groups.values() for name in group.tensors)


@given(st.integers(1, 12), st.booleans(), st.randoms(use_true_random=False))
def test_every_matrix_is_in_one_group_whatever_the_order(blocks, tied, random):
    shapes = dense(blocks, tied=tied)
    shuffled = list(shapes.items())
    random.shuffle(shuffled)
    groups = groups_of(dict(shuffled))
    assert groups == groups_of(shapes)
    tensors = [name for group in groups for name in group.tensors]
    assert sorted(tensors) == sorted(name for name in shapes if "norm" not in name)


def test_bytes_follow_the_fallbacks():
    shapes = dense(1, columns=160)  # no multiple of 256
    embedding = groups_of(shapes)[0]
    assert group_types(embedding, "Q4_K", shapes) == {"token_embd.weight": "Q5_0"}
    assert group_bytes(embedding, "Q4_K", shapes) == 160 * 1024 // 32 * 22
    whole = dense(1)
    assert group_bytes(groups_of(whole)[0], "Q4_K", whole) == 256 * 1024 // 256 * 144


def test_nothing_to_quantize_is_an_error():
    with pytest.raises(InputError, match="can be quantized"):
        groups_of({"output_norm.weight": (256,)})


@given(st.integers(1, 200))
def test_a_scan_has_as_many_parts_as_its_groups_ask_for(blocks: int):
    """Counted from the artifact's tensors: the same as from the shapes that the scan itself counts."""
    shapes = {"token_embd.weight": (256, 512), "output_norm.weight": (256,)}
    for block in range(blocks):
        shapes |= {f"blk.{block}.{part}.weight": (256, 256) for part in ("attn_q", "attn_k", "ffn_down", "ffn_up")}
        shapes[f"blk.{block}.attn_norm.weight"] = (256,)
    tensors = {name: "Q4_K" if len(shape) > 1 else "F32" for name, shape in shapes.items()}
    parts = parts_of_scan(Artifact.model_construct(format="gguf", tensors=tensors))
    assert 1 <= parts <= MOST_PARTS
    assert parts == min(MOST_PARTS, -(-len(groups_of(shapes)) // 8))
