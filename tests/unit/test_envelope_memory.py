"""Bytes of packed formats, caches and activations: properties that hold for every model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.envelope.memory import activation_bytes, cache_bytes, estimate
from quantplay.envelope.packed import is_packed, packed_bytes, unaligned
from quantplay.envelope.runtimes import RUNTIMES
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.errors import InputError
from quantplay.formats import FORMATS, TYPES, types_of

PACKED = [name for name, kind in TYPES.items() if kind.format != "gguf"]


def shape_of(folder: Path, **config: Any) -> ModelShape:
    told = {
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(told | config))
    return read_shape(folder, need_weights=False)


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(PACKED), columns=st.integers(1, 8).map(lambda n: 128 * n), inner=st.integers(1, 8).map(lambda n: 128 * n),
    tied=st.booleans(),
)  # fmt: skip
def test_packed_weights_cost_their_bits_and_what_lies_beside_them(
    tmp_path_factory: pytest.TempPathFactory, kind: str, columns: int, inner: int, tied: bool
) -> None:
    shape = shape_of(
        tmp_path_factory.mktemp("m"), hidden_size=columns, intermediate_size=inner, tie_word_embeddings=tied
    )
    linear = {name: one for name, one in shape.tensors.items() if is_packed(name, one)}
    weights = sum(one[0] * one[1] for one in linear.values())
    left = 2 * (shape.weights - weights)
    least = weights * TYPES[kind].bits_per_weight / 8
    # Beside the bits of the table: a scale a row at 8 bits, shapes and group numbers at 4.
    most = least + sum(4 * one[1] + 4 * one[0] + 16 for one in linear.values())
    assert left + least <= packed_bytes(shape, kind) <= left + most
    assert unaligned(shape, kind) == ()


def test_layers_that_fill_no_group_are_named(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, hidden_size=96, num_attention_heads=4)
    assert "blk.0.attn_q.weight" in unaligned(shape, "W4A16")
    assert unaligned(shape, "FP8_DYNAMIC") == ()


@settings(max_examples=80, deadline=None)
@given(
    tokens=st.integers(1, 4096), batch=st.integers(1, 64), cache_type=st.sampled_from(["F32", "F16", "Q8_0", "Q4_0"])
)
def test_a_cache_grows_with_tokens_and_sequences_and_shrinks_with_its_type(
    tmp_path_factory: pytest.TempPathFactory, tokens: int, batch: int, cache_type: str
) -> None:
    shape = shape_of(tmp_path_factory.mktemp("m"))

    def bytes_of(tokens: int, batch: int, cache_type: str) -> int:
        return cache_bytes(shape, context_tokens=tokens, batch=batch, cache_type=cache_type)

    found = bytes_of(tokens, batch, cache_type)
    assert found <= bytes_of(tokens + 1, batch, cache_type)
    assert bytes_of(tokens, 2 * batch, cache_type) == 2 * found
    assert found <= bytes_of(tokens, batch, "F32")
    assert bytes_of(tokens, batch, "Q8_0") * 32 == bytes_of(tokens, batch, "F16") // 2 * 34


def test_windows_save_where_the_runtime_lets_them(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, model_type="gemma2", num_hidden_layers=4, sliding_window=512)
    assert (shape.window, shape.window_layers) == (512, 2)
    full = cache_bytes(shape, context_tokens=4096, batch=1)
    assert cache_bytes(shape, context_tokens=4096, batch=1, windows=True) == full // 2 + full // 16
    assert cache_bytes(shape, context_tokens=256, batch=1, windows=True) == cache_bytes(
        shape, context_tokens=256, batch=1
    )


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_estimated_for_the_runtimes_that_load_it(kind: str, tmp_path: Path) -> None:
    shape = shape_of(tmp_path)
    for runtime in FORMATS[TYPES[kind].format].runtimes:
        found = estimate(shape, kind, context_tokens=512, batch=2, importance=True, runtime=runtime)
        assert found.total_bytes > found.weights_bytes + found.cache_bytes > 0
        assert found.file_bytes > found.weights_bytes
        assert kind in types_of(runtime)
        assert runtime in RUNTIMES


def test_a_runtime_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such serving runtime"):
        estimate(shape_of(tmp_path), "Q8_0", context_tokens=64, batch=1, importance=False, runtime="of tomorrow")


def test_an_architecture_nobody_knows_needs_its_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="headers tell"):
        shape_of(tmp_path, model_type="of_tomorrow")


def test_experts_compute_what_a_token_uses(tmp_path: Path) -> None:
    sizes = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    shape = shape_of(tmp_path, **sizes)
    assert (shape.experts, shape.experts_used) == (8, 2)
    dense = shape_of(tmp_path)
    assert activation_bytes(shape, context_tokens=64, batch=1) >= activation_bytes(dense, context_tokens=64, batch=1)
