"""The llama.cpp engine against itself one prompt at a time, and against plain numpy on its own logits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import save_random_model
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_cpp import LlamaModel, runtime_description
from quantplay.engines.logits import draw, log_softmax
from quantplay.envelope.memory import cache_bytes
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError
from quantplay.settings import settings

CLOSE_LOGITS = 0.05  # batches of other sizes round differently; only nearly equal logits may change places
STOP = ("\n",)


@pytest.fixture(scope="module")
def model(reference_gguf: Path) -> Iterator[LlamaModel]:
    with LlamaModel(reference_gguf, threads=1, context_tokens=256, sequences=5) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def single(reference_gguf: Path) -> Iterator[LlamaModel]:
    with LlamaModel(reference_gguf, threads=1, context_tokens=256) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def items(pilot: Path) -> list[dict[str, str]]:
    lines = (pilot / "evaluation" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:: len(lines) // 24]]


def prompts_of(model: LlamaModel, items: Sequence[dict[str, str]]) -> list[list[int]]:
    return [model.tokenize(item["prompt"]) for item in items]


def greedy_by_hand(model: LlamaModel, prompt: Sequence[int], count: int) -> list[int]:
    """No cache, no batch: the whole text again for every token."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count:
        token = int(model.logits(tokens, len(tokens) - 1)[0].argmax())
        if token in model.ends:
            break
        tokens.append(token)
    return tokens[len(prompt) :]


def same_up_to_rounding(model: LlamaModel, prompt: Sequence[int], one: Sequence[int], other: Sequence[int]) -> bool:
    """Equal, or different from a token on whose logits were nearly equal."""
    length = min(len(one), len(other))
    place = next((index for index in range(length) if one[index] != other[index]), length)
    if place == len(one) == len(other):
        return True
    logits = np.sort(model.logits([*prompt, *one[:place]], len(prompt) + place - 1)[0])
    return bool(logits[-1] - logits[-2] < CLOSE_LOGITS)


@pytest.mark.parametrize("layers", [1, 24])
def test_a_model_says_how_large_its_cache_is_however_deep_it_is(tmp_path: Path, layers: int) -> None:
    folder = save_random_model(tmp_path / "model", layers=layers)
    convert(ensure_converter(settings().cache), folder, tmp_path / "deep.gguf")
    with LlamaModel(tmp_path / "deep.gguf", threads=1, context_tokens=512, sequences=2) as deep:
        told = cache_bytes(read_shape(folder), context_tokens=512, batch=2, cache_type="F16")
        assert deep.cache_bytes == pytest.approx(told, rel=0.01)
        assert deep.serving["cache of keys"] == "f16"


def test_batched_answers_equal_one_at_a_time(model: LlamaModel, single: LlamaModel, items: list) -> None:
    prompts = prompts_of(model, items)
    finished: list[int] = []
    together = model.generate(prompts, max_tokens=40, stop=STOP, on_done=finished.append)
    alone = [single.generate([prompt], max_tokens=40, stop=STOP)[0] for prompt in prompts]
    assert sorted(finished) == list(range(len(prompts)))
    assert {answer.finish for answer in together} <= {"stop", "end", "length"}
    for prompt, one, other in zip(prompts, together, alone, strict=True):
        assert same_up_to_rounding(single, prompt, one.tokens, other.tokens)


def test_answers_do_not_depend_on_the_order_of_prompts(model: LlamaModel, items: list) -> None:
    prompts = prompts_of(model, items[:8])
    forward = model.generate(prompts, max_tokens=12)
    backward = model.generate(prompts[::-1], max_tokens=12)[::-1]
    for prompt, one, other in zip(prompts, forward, backward, strict=True):
        assert same_up_to_rounding(model, prompt, one.tokens, other.tokens)


def test_greedy_answers_equal_argmax_without_cache(model: LlamaModel, items: list) -> None:
    for prompt in prompts_of(model, items[:4]):
        answer = model.generate([prompt], max_tokens=12)[0]
        assert same_up_to_rounding(model, prompt, answer.tokens, greedy_by_hand(model, prompt, 12))


def test_logits_equal_those_of_the_source_model(reference_gguf: Path, pilot: Path, items: list) -> None:
    """The converted file in full precision with a float32 cache is the model that transformers runs."""
    import torch

    from quantplay.engines.transformers_model import load_model

    source = load_model(pilot / "model")
    with LlamaModel(reference_gguf, threads=1, context_tokens=256, cache_type="f32") as model, torch.inference_mode():
        for prompt in prompts_of(model, items[:3]):
            expected = source(torch.tensor([prompt])).logits[0].numpy()
            assert model.logits(prompt) == pytest.approx(expected, abs=2e-3)


def test_stop_strings_cut_the_text(model: LlamaModel, items: list) -> None:
    prompt = model.tokenize(items[0]["prompt"])
    whole = model.generate([prompt], max_tokens=12)[0]
    assert len(whole.text) > 2
    for stop in {whole.text[1:3], whole.text[-2:]}:
        cut = model.generate([prompt], max_tokens=12, stop=["never said", stop])[0]
        assert cut.text == whole.text[: whole.text.find(stop)]
        assert cut.finish == "stop"
        assert cut.tokens == whole.tokens[: len(cut.tokens)]
    short = model.generate([prompt], max_tokens=2)[0]
    assert (short.finish, short.tokens) == ("length", whole.tokens[:2])


def test_scores_equal_the_log_softmax_of_the_logits(model: LlamaModel, items: list) -> None:
    prompts = prompts_of(model, items[:3])
    continuations = [model.tokenize(item["answer"], add_bos=False) for item in items[:7]]
    pairs = [
        (prompt, continuation) for prompt in prompts for continuation in [*continuations, continuations[0][:1], []]
    ]
    for (prompt, continuation), scored in zip(pairs, model.score(pairs), strict=True):
        rows = log_softmax(model.logits([*prompt, *continuation], len(prompt) - 1))
        expected = sum(rows[place, token] for place, token in enumerate(continuation))
        # the cache is float16 and batches round differently: about 1e-3 a token
        assert scored.log_probability == pytest.approx(expected, abs=5e-3 * (1 + len(continuation)))
        assert scored.tokens == len(continuation)
        if not scored.greedy:
            assert any(rows[place].argmax() != token for place, token in enumerate(continuation))


def test_the_greedy_answer_scores_as_greedy(model: LlamaModel, items: list) -> None:
    prompts = prompts_of(model, items[:4])
    answers = [answer.tokens for answer in model.generate(prompts, max_tokens=6)]
    wrong = [(*tokens[:-1], (tokens[-1] + 1) % model.vocabulary) for tokens in answers if tokens]
    assert all(scored.greedy for scored in model.score(list(zip(prompts, answers, strict=True))))
    assert not any(scored.greedy for scored in model.score(list(zip(prompts, wrong, strict=False))))


def test_samples_depend_on_seed_and_prompt_only(model: LlamaModel, items: list) -> None:
    prompts = prompts_of(model, items[:3])
    settings = {"samples": 7, "temperature": 1.0, "max_tokens": 10, "stop": STOP}
    first = model.sample(prompts, seed=3, **settings)
    assert [len(group) for group in first] == [7, 7, 7]  # more samples than sequences
    # cold sampling is greedy; another seed is another draw; the order of the prompts changes nothing but rounding
    again = model.sample(prompts[::-1], seed=3, **settings)[::-1]
    same = sum(a.text == b.text for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
    assert same >= 19
    hot = {**settings, "temperature": 5.0}  # the pilot is sure of itself: at 1.0 every sample is the greedy answer
    assert model.sample(prompts, seed=4, **hot) != model.sample(prompts, seed=3, **hot)
    cold = model.sample(prompts[:1], seed=3, samples=2, temperature=1e-4, max_tokens=6)[0]
    greedy = model.generate(prompts[:1], max_tokens=6)[0]
    assert all(same_up_to_rounding(model, prompts[0], sample.tokens, greedy.tokens) for sample in cold)


def test_draws_follow_the_softmax() -> None:
    logits = np.log(np.array([0.5, 0.0625, 0.25, 0.1875])) * 0.7
    uniform = (np.arange(10_000) + 0.5) / 10_000
    drawn = draw(np.tile(logits.astype(np.float32), (10_000, 1)), 0.7, uniform)
    assert np.bincount(drawn) / 10_000 == pytest.approx([0.5, 0.0625, 0.25, 0.1875], abs=2e-4)


def test_tokens_and_text(model: LlamaModel) -> None:
    tokens = model.tokenize("order 12: a blue lamp\n")
    assert tokens[0] == model.begin_token
    assert model.detokenize(tokens).strip() == "order 12: a blue lamp"
    assert model.tokenize("</s>", add_bos=False) != [2]  # text stays text
    assert 2 in model.ends


def test_sizes_are_those_of_the_file(model: LlamaModel, reference_gguf: Path) -> None:
    size = reference_gguf.stat().st_size
    assert 0.95 * size < model.weights_bytes <= size
    # keys and values, 4 layers, 2 heads of 64, 2 bytes, 5 sequences of 256 tokens
    assert model.cache_bytes == 2 * 4 * 2 * 64 * 2 * 5 * 256
    assert model.description.startswith("llama")
    assert "llama-cpp-python 0." in runtime_description()


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing"])
def test_a_bad_file_is_refused_with_the_reason(damage: str, reference_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    if damage == "truncated":
        path.write_bytes(reference_gguf.read_bytes()[:-200_000])
    elif damage != "missing":
        path.write_text("no model\n" * 100 if damage == "text" else "")
    said = {
        "truncated": "not within the file bounds",
        "text": "invalid magic",
        "empty": "failed to read magic",
        "missing": "no GGUF file",
    }
    with pytest.raises(InputError, match=said[damage]) as caught:
        LlamaModel(path, threads=1, context_tokens=256)
    assert "do this" in str(caught.value) or damage == "missing"
    assert len(str(caught.value).splitlines()[1]) > len("  found: ")


def test_what_does_not_fit_is_refused(model: LlamaModel) -> None:
    with pytest.raises(InputError, match="prompt 1 with an answer of 64"):
        model.generate([[1] * 10, [1] * 193], max_tokens=64)
    with pytest.raises(InputError, match="prompt 0 is empty"):
        model.generate([[]], max_tokens=4)
    with pytest.raises(InputError, match="does not fit"):
        model.logits([1] * 257)
    with pytest.raises(InputError, match="temperature"):
        model.sample([[1]], samples=1, temperature=0.0, seed=0, max_tokens=1)
    assert model.generate([], max_tokens=4) == []
    assert model.score([]) == []


def test_scores_beside_prompts_that_fill_the_context(model: LlamaModel, items: list) -> None:
    """Neighbours are filled up to a common length; one that has no room left stays as it is, and nobody's score changes."""
    text = model.tokenize(" ".join(item["prompt"] for item in items))
    assert len(text) > 256
    cuts = [(256 - after, after) for after in (1, 2, 3, 9, 5)] + [(250 - after, after) for after in (1, 1, 4, 12)]
    pairs = [(text[:before], text[before : before + after]) for before, after in cuts]
    together = model.score(pairs)
    for pair, scored in zip(pairs, together, strict=True):
        assert scored.log_probability == pytest.approx(model.score([pair])[0].log_probability, abs=5e-3 * len(pair[1]))
