"""What a run notes of its questions, and of how the runtime was set up: equal where only the order differs, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantplay.engines.llama_cpp import LlamaModel, serving_settings
from quantplay.evalset import EvalItem, read_items
from quantplay.harness.lm_llama import LlamaLM
from quantplay.harness.quality import Measured, measure
from quantplay.plan import Decoding

F16 = {"cache of keys": "f16", "cache of values": "f16"}


@pytest.fixture(scope="session")
def few(pilot: Path) -> tuple[EvalItem, ...]:
    return read_items(pilot / "evaluation" / "dev.jsonl")[:6]


@pytest.fixture(scope="session")
def ask(reference_gguf: Path, few: tuple[EvalItem, ...]) -> Any:
    def run(**changes: Any) -> Measured:
        arguments: dict[str, Any] = {"items": few, "decoding": Decoding(max_tokens=8), "batch": 4, "threads": 1}
        return measure(runtime="llama.cpp", model=reference_gguf, **arguments | changes)

    return run


@pytest.fixture(scope="session")
def once(ask: Any) -> Measured:
    return ask()


def test_order_and_batch_change_neither_digest(ask: Any, once: Measured) -> None:
    again = ask(order_seed=3, batch=1)
    assert (again.prompts, again.tokens) == (once.prompts, once.tokens)


def test_both_runtimes_are_asked_the_same(once: Measured, ask: Any, pilot_model: Path, few: Any) -> None:
    source = measure(
        runtime="transformers", model=pilot_model, items=few, decoding=Decoding(max_tokens=8), batch=4, threads=1
    )
    assert (source.prompts, source.tokens) == (once.prompts, once.tokens)
    assert source.serving == {"weights held as": "float32"}


def test_another_item_or_another_limit_is_another_question(ask: Any, once: Measured, few: Any) -> None:
    assert ask(items=few[:5]).prompts != once.prompts
    longer = ask(decoding=Decoding(max_tokens=9))
    assert longer.prompts != once.prompts
    assert longer.tokens == once.tokens


def test_another_tokenizer_gives_other_tokens_for_the_same_prompts(
    ask: Any, once: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = LlamaLM.tok_encode
    monkeypatch.setattr(LlamaLM, "tok_encode", lambda self, text, *a, **k: encode(self, "\n" + text, *a, **k))
    again = ask()
    assert again.prompts == once.prompts
    assert again.tokens != once.tokens


def test_the_settings_are_those_of_the_context(reference_gguf: Path, once: Measured) -> None:
    assert once.serving == {**F16, "flash attention": "enabled"}
    with LlamaModel(reference_gguf, threads=1, context_tokens=64, cache_type="f32") as model:
        assert model.serving == {
            "cache of keys": "f32", "cache of values": "f32", "flash attention": "disabled",
        }  # fmt: skip


def test_settings_of_several_caches_and_of_none() -> None:
    line = "llama_kv_cache: size =    2.00 MiB (   256 cells,   4 layers,  4/4 seqs), K ({}):    1.00 MiB, V ({}):    1.00 MiB\n"
    said = line.format("q4_0", "f16") + line.format("f16", "f16")
    assert serving_settings(said, True) == {
        "cache of keys": "f16, q4_0", "cache of values": "f16", "flash attention": "enabled",
    }  # fmt: skip
    assert serving_settings("nothing", None)["cache of keys"] == "none"
