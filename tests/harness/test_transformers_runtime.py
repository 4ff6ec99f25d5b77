"""transformers as the serving runtime: divergence, steps of generation, speed and sampled answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantplay.engines.model_file import write_model_file
from quantplay.engines.transformers_logits import FolderModel
from quantplay.evalset import read_items, read_texts
from quantplay.harness.difficulty import rank
from quantplay.harness.divergence import measure_divergence
from quantplay.harness.speed import measure_speed
from quantplay.plan import Decoding


@pytest.fixture(scope="module")
def one_file(pilot_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("file") / "model.tar"
    write_model_file(pilot_model, out)
    return out


def test_the_file_and_its_folder_do_not_diverge_and_perplexity_is_that_of_llama_cpp(
    pilot: Path, pilot_model: Path, one_file: Path, reference_gguf: Path
) -> None:
    texts = [sample.text for sample in read_texts(pilot / "heldout" / "text.jsonl")][:12]
    here = measure_divergence(pilot_model, one_file, texts, context_tokens=64, threads=1, runtime="transformers")
    assert (here.max_kl_nats, here.top1_agreement) == (0.0, 1.0)
    there = measure_divergence(reference_gguf, reference_gguf, texts, context_tokens=64, threads=1, cache_type="f32")
    assert here.tokens == there.tokens
    assert here.perplexity_reference == pytest.approx(there.perplexity_reference, rel=1e-4)


def test_steps_over_the_cache_are_those_of_the_whole_text(pilot_model: Path) -> None:
    with FolderModel(pilot_model, threads=1, context_tokens=64, sequences=3) as model:
        prompt = model.tokenize("order 808: chair 5, shelf 7\ntotal?\nanswer:")
        tokens = model.read(prompt, 1)
        model.spread(3)
        told = [tokens[0]]
        for _ in range(5):
            (token,) = set(model.step([told[-1]] * 3))  # three equal sequences go on alike
            told.append(token)
        for count, token in enumerate(told):
            assert model.logits([*prompt, *told[:count]])[-1].argmax() == token


def test_speed_of_two_arms(pilot_model: Path, one_file: Path) -> None:
    measured = measure_speed(
        {"folder": pilot_model, "file": one_file}, ["words: monday shelf dublin"], context_tokens=32, batch=2, threads=1, repeats=3,
        runtime="transformers",
    )  # fmt: skip
    folder, file = measured["folder"], measured["file"]
    assert folder.weights_bytes == file.weights_bytes > 10_000_000
    assert (
        folder.cache_bytes == file.cache_bytes == 2 * 4 * 2 * 64 * 4 * 2 * (32 - 1)
    )  # keys, layers, heads, f32, batch, tokens
    assert folder.time_per_token_ms.p50 > 0


def test_sampled_answers_rank_the_same_each_time(pilot: Path, one_file: Path) -> None:
    items = read_items(pilot / "evaluation" / "dev.jsonl")[::60]
    ranked = [
        rank(items, model=one_file, decoding=Decoding(max_tokens=16), batch=16, threads=1, context_tokens=256, runtime="transformers")
        for _ in range(2)
    ]  # fmt: skip
    assert ranked[0] == ranked[1]
    assert {one.id for one in ranked[0]} == {item.id for item in items}
