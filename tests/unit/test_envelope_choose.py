from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.envelope.choose import DEFAULT_ORDER, MIB, choose
from quantplay.envelope.memory import cache_bytes, estimate
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError
from quantplay.formats import TYPES, types_of
from quantplay.plan import Envelope
from quantplay.records import EnvelopeChoice, Fingerprint, Hardware, Software

HERE = Fingerprint(
    hardware=Hardware(cpu="a cpu", cpu_features="0" * 64, cores=2, memory_bytes=2**33),
    software=Software(system="a system", python="3.11", packages={}, runtime="a runtime"),
    threads=2,
)


def save_headers(folder: Path, *, hidden: int = 256, layers: int = 2, vocabulary: int = 512, **config: Any) -> Path:
    """A model folder whose safetensors files have headers only: nothing here reads a weight."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary, "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told | config))
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{part}_proj.weight": [hidden, hidden] for part in "qo"}
        shapes |= {f"{block}.self_attn.{part}_proj.weight": [hidden // 2, hidden] for part in "kv"}
        shapes |= {f"{block}.mlp.{part}_proj.weight": [2 * hidden, hidden] for part in ("gate", "up")}
        shapes[f"{block}.mlp.down_proj.weight"] = [hidden, 2 * hidden]
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_headers(tmp_path_factory.mktemp("envelope") / "model")


def types_in_order(choice: EnvelopeChoice) -> tuple[str, ...]:
    return tuple(candidate.type for candidate in choice.candidates)


def test_four_bits_come_first_when_the_plan_names_no_type(model: Path) -> None:
    choice = choose(Envelope(), model, HERE)
    assert types_in_order(choice) == DEFAULT_ORDER
    assert choice.chosen.type == "Q4_K_M"
    assert all(TYPES[kind].nominal_bits == 4 for kind in DEFAULT_ORDER)
    assert all(candidate.fits for candidate in choice.candidates)
    assert (choice.budget_bytes, choice.runtime, choice.fingerprint) == (None, "llama.cpp", HERE)
    assert EnvelopeChoice.model_validate(choice.body()) == choice


def test_the_plans_order_holds_and_repeats_count_once(model: Path) -> None:
    choice = choose(Envelope(types=("Q2_K", "Q8_0", "Q2_K")), model, HERE)
    assert types_in_order(choice) == ("Q2_K", "Q8_0")
    assert "Q2_K, Q8_0, Q2_K" in choice.reasons[1]


def test_a_type_over_a_budget_comes_later_and_says_why(model: Path) -> None:
    sizes = {
        candidate.type: candidate for candidate in choose(Envelope(types=("Q8_0", "Q4_K_M")), model, HERE).candidates
    }
    between = (sizes["Q8_0"].total_bytes + sizes["Q4_K_M"].total_bytes) / 2 / MIB
    choice = choose(Envelope(types=("Q8_0", "Q4_K_M"), memory_mib=between), model, HERE)
    assert types_in_order(choice) == ("Q4_K_M", "Q8_0")
    assert [candidate.fits for candidate in choice.candidates] == [True, False]
    assert "over memory_mib" in choice.candidates[1].reason
    assert choice.budget_bytes == int(between * MIB)
    by_file = choose(Envelope(types=("Q8_0", "Q2_K"), max_artifact_mib=1), model, HERE)
    assert types_in_order(by_file) == ("Q2_K", "Q8_0")
    assert "over max_artifact_mib 1" in by_file.candidates[1].reason


def test_when_nothing_fits_the_choice_says_so(model: Path) -> None:
    choice = choose(Envelope(memory_mib=1), model, HERE)
    assert not choice.chosen.fits
    assert choice.chosen.rank == 1
    assert choice.reasons[0].startswith("No type fits")


def test_rows_that_fit_no_large_block_prefer_small_blocks(tmp_path: Path) -> None:
    odd = save_headers(tmp_path / "odd", hidden=96, num_attention_heads=4)
    choice = choose(Envelope(), odd, HERE)
    assert types_in_order(choice)[:2] == ("IQ4_NL", "Q4_0")
    last = choice.candidates[-1]
    assert "no multiple of 256" in last.reason
    assert last.bits_per_weight > TYPES[last.type].bits_per_weight
    by_plan = choose(Envelope(types=("Q4_K_M", "IQ4_NL")), odd, HERE)
    assert by_plan.chosen.type == "Q4_K_M"


def test_unknown_types_are_listed_together(model: Path) -> None:
    with pytest.raises(InputError) as caught:
        choose(Envelope(types=("Q4_K_M", "Q4_K_XL", "GPTQ")), model, HERE)
    assert [(fault.where, fault.value) for fault in caught.value.faults] == [
        ("envelope.types[1]", "Q4_K_XL"),
        ("envelope.types[2]", "GPTQ"),
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    types=st.lists(st.sampled_from(list(types_of("llama.cpp"))), max_size=6),
    memory=st.none() | st.floats(1, 100),
    size=st.none() | st.floats(0.1, 10),
    context=st.integers(16, 4096),
    batch=st.integers(1, 64),
)
def test_ranking_is_a_permutation_with_fitting_types_first(
    model: Path, types: list[str], memory: float | None, size: float | None, context: int, batch: int
) -> None:
    envelope = Envelope(
        types=tuple(types), memory_mib=memory, max_artifact_mib=size, context_tokens=context, batch=batch
    )
    choice = choose(envelope, model, HERE)
    assert set(types_in_order(choice)) == set(types or DEFAULT_ORDER)
    assert [candidate.rank for candidate in choice.candidates] == list(range(1, len(choice.candidates) + 1))
    fits = [candidate.fits for candidate in choice.candidates]
    assert fits == sorted(fits, reverse=True)
    for fitting in (True, False):
        group = [candidate.type for candidate in choice.candidates if candidate.fits == fitting]
        assert group == [kind for kind in dict.fromkeys(types or DEFAULT_ORDER) if kind in group]
    for candidate in choice.candidates:
        assert candidate.total_bytes > candidate.weights_bytes + candidate.cache_bytes
        if memory is not None and candidate.fits:
            assert candidate.total_bytes <= memory * MIB


def test_the_cache_follows_its_formula(model: Path) -> None:
    shape = read_shape(model)
    assert (shape.head_dim, shape.heads_per_group) == (64, 2)
    # keys and values, layers, key-value heads, head size, tokens, sequences, bytes
    assert cache_bytes(shape, context_tokens=512, batch=3) == 2 * 2 * 2 * 64 * 512 * 3 * 2
    assert cache_bytes(shape, context_tokens=513, batch=1) == cache_bytes(shape, context_tokens=768, batch=1)


def test_a_published_size_is_met(tmp_path: Path) -> None:
    """Llama 3.1 8B in Q4_K_M is 4.58 GiB at 4.89 bits a weight, as llama.cpp's own table says."""
    folder = save_headers(
        tmp_path / "m", num_attention_heads=32, num_key_value_heads=8, hidden_size=4096, intermediate_size=14336,
        num_hidden_layers=32, vocab_size=128256, tie_word_embeddings=False,
    )  # fmt: skip
    header = {
        "lm_head.weight": [128256, 4096],
        "model.embed_tokens.weight": [128256, 4096],
        "model.norm.weight": [4096],
    }
    for layer in range(32):
        block = f"model.layers.{layer}"
        header |= {f"{block}.self_attn.{part}_proj.weight": [4096, 4096] for part in "qo"}
        header |= {f"{block}.self_attn.{part}_proj.weight": [1024, 4096] for part in "kv"}
        header |= {f"{block}.mlp.{part}_proj.weight": [14336, 4096] for part in ("gate", "up")}
        header |= {f"{block}.mlp.down_proj.weight": [4096, 14336]}
        header |= {f"{block}.{part}_layernorm.weight": [4096] for part in ("input", "post_attention")}
    entries = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 2]} for name, shape in header.items()}
    text = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    found = estimate(read_shape(folder), "Q4_K_M", context_tokens=8192, batch=1, importance=False)
    assert found.weights == 8_030_261_248
    assert found.weights_bytes / 2**30 == pytest.approx(4.58, abs=0.005)
    assert found.bits_per_weight == pytest.approx(4.89, abs=0.015)
    assert found.cache_bytes == 2**30


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"hidden_size": "256"}, "hidden_size"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"vocab_size": True}, "vocab_size"),
    ],
)
def test_a_config_without_sizes_is_refused(config: dict[str, Any], where: str, tmp_path: Path) -> None:
    folder = save_headers(tmp_path / "m")
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | config))
    with pytest.raises(InputError) as caught:
        read_shape(folder)
    assert [fault.where for fault in caught.value.faults] == [f"config.json: {where}"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 8) + b'{"a": 1}', b"\x02" + b"\0" * 7 + b"{"],
)
def test_a_file_that_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = save_headers(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="no safetensors file"):
        read_shape(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"text_config": 3}'])
def test_a_config_that_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    folder = save_headers(tmp_path / "m")
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        read_shape(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = save_headers(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no safetensors weights"):
        read_shape(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no .*config\.json"):
        read_shape(folder)
