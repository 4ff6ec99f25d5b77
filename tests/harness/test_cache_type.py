"""A narrower key-value cache: what llama.cpp allocates is what was predicted, its losses are seen, and its server has it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantplay.engines.llama_cpp import CacheType, LlamaModel
from quantplay.envelope.memory import cache_bytes
from quantplay.envelope.shape import read_shape
from quantplay.evalset import read_items
from quantplay.harness.quality import measure
from quantplay.plan import Decoding

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
def test_the_predicted_bytes_are_what_llama_cpp_allocates(
    pilot_model: Path, candidate_gguf: Path, kind: CacheType
) -> None:
    told = cache_bytes(read_shape(pilot_model), context_tokens=1024, batch=4, cache_type=kind.upper())
    with LlamaModel(candidate_gguf, threads=1, context_tokens=1024, sequences=4, cache_type=kind) as model:
        assert model.cache_bytes == pytest.approx(told, abs=0.01 * 2**20)  # the log rounds
        assert model.serving == {"cache of keys": kind, "cache of values": kind, "flash attention": "enabled"}


def answers(runtime: str, pilot: Path, model: Path, cache_type: CacheType) -> list[Any]:
    items = read_items(pilot / "evaluation" / "dev.jsonl")[::12]
    found = measure(
        runtime=runtime, model=model, items=items, decoding=Decoding(max_tokens=48), batch=1, threads=1, cache_type=cache_type,
        gold_loss_ids=[item.id for item in items], tokenizer=pilot / "model",
    )  # fmt: skip
    return list(found.items)


def test_its_loss_is_in_what_the_gate_sees(pilot: Path, candidate_gguf: Path) -> None:
    exact, eight, four = (answers("llama.cpp", pilot, candidate_gguf, kind) for kind in ("f32", "q8_0", "q4_0"))

    def away(found: list[Any]) -> float:
        return sum(abs(a.gold_loss_nats - b.gold_loss_nats) for a, b in zip(exact, found, strict=True)) / len(found)

    assert 0 < away(eight) < away(four)


def test_the_server_has_the_same_cache(pilot: Path, candidate_gguf: Path) -> None:
    inside, outside = (answers(name, pilot, candidate_gguf, "q4_0") for name in ("llama.cpp", "llama.cpp-server"))
    other = answers("llama.cpp", pilot, candidate_gguf, "f16")

    def losses(found: list[Any]) -> list[float]:
        return [one.gold_loss_nats for one in found]

    gap = max(abs(a - b) for a, b in zip(losses(inside), losses(outside), strict=True))
    assert gap < max(abs(a - b) for a, b in zip(losses(inside), losses(other), strict=True)) / 3
