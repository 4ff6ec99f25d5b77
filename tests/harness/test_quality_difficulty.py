"""Difficulty by sampled answers: seeded, independent of batch and order, and about the model's doubt."""

from pathlib import Path

import pytest

from quantplay import process
from quantplay.errors import InputError
from quantplay.evalset import EvalItem, read_items
from quantplay.harness.difficulty import rank
from quantplay.plan import Decoding

DECODING = Decoding(max_tokens=24)


@pytest.fixture(scope="session")
def items(pilot: Path) -> tuple[EvalItem, ...]:
    return read_items(pilot / "evaluation" / "dev.jsonl")[::67]


def test_the_ranking_is_seeded_and_independent_of_batch_and_order(reference_gguf: Path, items) -> None:
    one = rank(items, model=reference_gguf, decoding=DECODING, batch=8, threads=1, seed=5)
    other = rank(items[::-1], model=reference_gguf, decoding=DECODING, batch=5, threads=1, seed=5)
    assert one == other
    assert sorted(entry.id for entry in one) == sorted(item.id for item in items)
    assert [entry.pass_rate for entry in one] == sorted(entry.pass_rate for entry in one)
    answers = {item.id: item.answer for item in items}
    keys = [(entry.pass_rate, -len(answers[entry.id]), entry.id) for entry in one]
    assert keys == sorted(keys)


def test_what_every_answer_satisfies_is_easy_and_what_none_does_is_hard(reference_gguf: Path, items) -> None:
    prompts = [item.prompt for item in items[:3]]
    easy = EvalItem("easy", "s", "d", prompts[0], "a", "choice", ("a", "zqzqzqzqzqzq"))
    hard = EvalItem("hard", "s", "d", prompts[0], "zqzqzqzqzqzq", "choice", ("a", "zqzqzqzqzqzq"))
    never = EvalItem("never", "s", "d", prompts[1], "zqzqzqzqzqzq", "exact")
    ranked = rank([easy, hard, never], model=reference_gguf, decoding=DECODING, batch=4, threads=1)
    rates = {entry.id: entry.pass_rate for entry in ranked}
    assert rates["never"] == 0
    assert rates["hard"] < 1e-6
    assert rates["easy"] == pytest.approx(1 - rates["hard"])


def test_faults(reference_gguf: Path, items) -> None:
    with pytest.raises(InputError, match="several sampled answers"):
        rank(items, model=reference_gguf, decoding=DECODING, batch=4, threads=1, samples=1)
    with pytest.raises(InputError, match=items[0].id):
        rank(items, model=reference_gguf, decoding=DECODING, batch=4, threads=1, context_tokens=32)


def test_the_job(reference_gguf: Path, tmp_path: Path, pilot: Path) -> None:
    few = tmp_path / "few.jsonl"
    with (pilot / "evaluation" / "dev.jsonl").open() as file:
        few.write_text("".join(line for line, _ in zip(file, range(3), strict=False)))
    payload = {
        "model": str(reference_gguf),
        "files": [str(few)],
        "decoding": DECODING.body(),
        "batch": 4,
        "threads": 1,
        "seed": 1,
        "samples": 2,
    }
    outcome = process.run("quantplay.harness.difficulty:difficulty_job", payload, threads=1)
    assert len(outcome.value["ranking"]) == 3
    assert "2 answers sampled at temperature 0.8" in outcome.value["how"]
