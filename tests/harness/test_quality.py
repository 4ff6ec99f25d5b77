"""The same items through HFLM and through llama.cpp: same prompts, same answers, same scores, same losses."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantplay import process
from quantplay.errors import InputError
from quantplay.evalset import EvalItem, read_items
from quantplay.harness.quality import evaluate, evaluate_job, open_model, quiet
from quantplay.plan import Decoding
from quantplay.records import ItemResult

DECODING = Decoding(max_tokens=40)
ARMS = ["transformers", "llama.cpp"]


@pytest.fixture(scope="session")
def items(pilot: Path) -> tuple[EvalItem, ...]:
    """Eight items a slice, and one choice item made of each of the first ten."""
    found = read_items(pilot / "evaluation" / "dev.jsonl")
    by_slice: dict[str, list[EvalItem]] = {}
    for item in found:
        by_slice.setdefault(item.slice, []).append(item)
    few = [item for group in by_slice.values() for item in group[:8]]
    others = {item.id: few[(index + 9) % len(few)].answer for index, item in enumerate(few)}
    choices = [
        replace(item, id=f"choice-{item.id}", scorer="choice", choices=(others[item.id], item.answer))
        for item in few[::4]
        if others[item.id] != item.answer
    ]
    return (*few, *choices)


@pytest.fixture(scope="session")
def models(pilot_model: Path, reference_gguf: Path) -> dict[str, Path]:
    return {"transformers": pilot_model, "llama.cpp": reference_gguf}


def run(models: dict[str, Path], runtime, items, **changes) -> tuple[ItemResult, ...]:
    settings = {"decoding": DECODING, "batch": 8, "threads": 1, **changes}
    return evaluate(runtime=runtime, model=models[runtime], items=items, **settings)


@pytest.fixture(scope="session")
def both(models: dict[str, Path], items: tuple[EvalItem, ...]) -> dict[str, tuple[ItemResult, ...]]:
    ids = [item.id for item in items[::3]]
    return {runtime: run(models, runtime, items, gold_loss_ids=ids) for runtime in ARMS}


def test_results_are_in_the_order_of_the_items(both, items) -> None:
    for results in both.values():
        assert [result.id for result in results] == [item.id for item in items]
        assert [(result.slice, result.cluster) for result in results] == [(item.slice, item.document) for item in items]


def test_both_arms_answer_alike(both, items) -> None:
    source, reference = both["transformers"], both["llama.cpp"]
    same = [a.response == b.response for a, b in zip(source, reference, strict=True)]
    # Rounding may tip a near tie of one answer; the same prompts and decoding leave no more than that.
    assert np.mean(same) >= 0.95
    assert np.mean([a.score == b.score for a, b in zip(source, reference, strict=True)]) >= 0.98


def test_gold_losses_agree_and_are_only_where_asked(both, items) -> None:
    asked = {item.id for item in items[::3]}
    for a, b in zip(both["transformers"], both["llama.cpp"], strict=True):
        assert (a.gold_loss_nats is not None) == (a.id in asked)
        if a.gold_loss_nats is not None:
            assert b.gold_loss_nats == pytest.approx(a.gold_loss_nats, rel=0.01, abs=0.01)


def test_a_float32_cache_gives_the_losses_of_transformers(models, both, items) -> None:
    few = items[:12:3]
    exact = run(models, "llama.cpp", few, gold_loss_ids=[item.id for item in few], cache_type="f32")
    expected = {result.id: result.gold_loss_nats for result in both["transformers"]}
    for result in exact:
        assert result.gold_loss_nats == pytest.approx(expected[result.id], rel=1e-4, abs=1e-6)


def test_gold_loss_is_the_mean_cross_entropy_of_the_answer(both, items, pilot_model) -> None:
    import torch

    from quantplay.engines.transformers_model import load_model, load_tokenizer

    model, tokenizer = load_model(pilot_model), load_tokenizer(pilot_model)
    for item, result in list(zip(items, both["transformers"], strict=True))[:24:3]:
        prompt = len(tokenizer(item.prompt)["input_ids"])
        whole = torch.tensor([tokenizer(item.prompt + item.following(item.answer))["input_ids"]])
        with torch.no_grad():
            logits = model(whole).logits[0, prompt - 1 : -1]
        expected = torch.nn.functional.cross_entropy(logits, whole[0, prompt:]).item()
        assert result.gold_loss_nats == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_greedy_answers_are_those_of_transformers_alone(both, items, pilot_model) -> None:
    from quantplay.engines.transformers_model import load_model, load_tokenizer

    model, tokenizer = load_model(pilot_model), load_tokenizer(pilot_model)
    for item, result in list(zip(items, both["transformers"], strict=True))[:40:8]:
        inputs = tokenizer(item.prompt, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=DECODING.max_tokens, do_sample=False)
        text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert result.response == text.split("\n")[0]


@pytest.mark.parametrize("runtime", ARMS)
def test_order_and_batch_leave_order_and_almost_all_scores(models, items, both, runtime) -> None:
    again = run(models, runtime, items[:20], batch=5, order_seed=3)
    assert [result.id for result in again] == [item.id for item in items[:20]]
    assert sum(a.score != b.score for a, b in zip(again, both[runtime][:20], strict=True)) <= 1


@pytest.mark.parametrize("runtime", ARMS)
def test_what_does_not_fit_is_an_error_that_names_the_items(models, items, runtime) -> None:
    chosen = [item for item in items if item.scorer == "choice"][:1]
    long = replace(items[1], id="too long", prompt=items[1].prompt * 30)
    for wrong, decoding in ((long, DECODING), (replace(chosen[0], id="too long", prompt="word " * 600), DECODING)):
        with pytest.raises(InputError, match="too long: the prompt and its answer do not fit"):
            run(models, runtime, [items[0], wrong], decoding=decoding)
    with pytest.raises(InputError, match="do not fit the context"):
        run(models, runtime, items[:1], context_tokens=48)
    fitting = replace(items[0], answer=items[0].answer * 60)
    with pytest.raises(InputError, match="do not fit the context"):
        run(models, runtime, [fitting], gold_loss_ids=[fitting.id])


def test_stop_strings_and_length_are_those_of_the_plan(models, items) -> None:
    for runtime in ARMS:
        (result,) = run(models, runtime, items[:1], decoding=Decoding(max_tokens=3, stop=()))
        assert len(result.response) <= 60
        whole = run(models, runtime, items[:1])[0].response
        letter = whole[len(whole) // 2]
        (cut,) = run(models, runtime, items[:1], decoding=Decoding(max_tokens=40, stop=("\n", letter)))
        assert cut.response == whole.split(letter)[0]


@pytest.fixture
def llama_lm(reference_gguf: Path) -> Iterator:
    with open_model("llama.cpp", reference_gguf, 4, 1, 128) as lm:
        yield lm


def test_llama_lm_against_hflm_request_by_request(pilot_model, llama_lm, items) -> None:
    from lm_eval.api.instance import Instance

    def instances(kind: str, arguments: list[tuple]) -> list[Instance]:
        return [Instance(kind, {}, one, i, ("t", i, 1)) for i, one in enumerate(arguments)]

    short = [item for item in items if len(item.prompt) < 90][:6]
    pairs = [(item.prompt, item.answer) for item in short] + [("", short[0].answer), ("a \n", " b")]
    texts = [(item.prompt + item.answer,) for item in short]
    with quiet(), open_model("transformers", pilot_model, 4, 1, 128) as hflm:
        for prompt, answer in pairs:
            assert llama_lm.tok_encode(prompt + answer) == hflm.tok_encode(prompt + answer)
        special = f"{hflm.tokenizer.bos_token}order 1{hflm.tokenizer.eos_token}x"
        # SentencePiece in llama.cpp puts a space after a special token, so only these are compared.
        ends = {llama_lm.bos, llama_lm.eos}
        found = [[token for token in lm.tok_encode(special) if token in ends] for lm in (llama_lm, hflm)]
        assert found == [[llama_lm.bos, llama_lm.eos]] * 2
        for kind, arguments in (("loglikelihood", pairs), ("loglikelihood_rolling", texts)):
            theirs = getattr(hflm, kind)(instances(kind, arguments))
            ours = getattr(llama_lm, kind)(instances(kind, arguments))
            np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=0.01, atol=0.02)


def test_rolling_covers_every_token_of_a_text_longer_than_the_context(llama_lm, items) -> None:
    from lm_eval.api.instance import Instance

    text = "".join(item.prompt + item.answer + "\n" for item in items[:12])
    assert len(llama_lm.tok_encode(text)) > 2 * llama_lm.max_length
    request = Instance("loglikelihood_rolling", {}, (text,), 0, ("t", 0, 1))
    (total,) = llama_lm.loglikelihood_rolling([request])
    assert -20 * len(text) < total < 0
    assert math.isfinite(total)


def test_the_job_in_a_child_gives_the_same(models, pilot: Path, items, both) -> None:
    ids = [item.id for item in items[:6]]
    payload = {
        "runtime": "llama.cpp",
        "model": str(models["llama.cpp"]),
        "files": [str(pilot / "evaluation" / "dev.jsonl")],
        "tasks": [],
        "decoding": DECODING.body(),
        "batch": 8,
        "threads": 1,
        "order_seed": None,
        "context_tokens": 512,
        "gold_loss_ids": ids[:1],
        "only_ids": ids,
    }
    seen = []
    target = "quantplay.harness.quality:evaluate_job"
    outcome = process.run(target, payload, threads=1, on_progress=lambda *step: seen.append(step))
    assert outcome.value["precision"] == "F32"
    results = [ItemResult.model_validate(item) for item in outcome.value["items"]]
    assert [(result.id, result.score) for result in results] == [(r.id, r.score) for r in both["llama.cpp"][:6]]
    assert results[0].gold_loss_nats is not None
    assert seen[-1] == (7, 7, "answers")
    with pytest.raises(InputError, match="not in the item files"):
        evaluate_job({**payload, "only_ids": ["nobody"]}, lambda *_: None)


def test_the_models_own_decoding_habits_are_ignored(both, items, pilot_model: Path, tmp_path: Path) -> None:
    for file in pilot_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    habits = {"do_sample": True, "temperature": 2.0, "repetition_penalty": 3.0, "max_new_tokens": 2, "eos_token_id": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(habits))
    again = run({"transformers": tmp_path}, "transformers", items[:8])
    assert [result.response for result in again] == [result.response for result in both["transformers"][:8]]


def test_models_that_are_none(tmp_path: Path, items, pilot_model: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    for runtime, model in (("llama.cpp", tmp_path / "x.gguf"), ("transformers", tmp_path)):
        with pytest.raises(InputError):
            evaluate(runtime=runtime, model=model, items=items[:1], decoding=DECODING, batch=1, threads=1)
    for name in ("tokenizer.json", "config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((pilot_model / name).read_bytes())
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 4', '"num_hidden_layers": 5'))
    with pytest.raises(InputError, match="tensors are missing"):
        evaluate(runtime="transformers", model=tmp_path, items=items[:1], decoding=DECODING, batch=1, threads=1)
