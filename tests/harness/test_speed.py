"""Speed in two child processes, on a load small enough for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quantplay.engines.llama_cpp import LlamaModel
from quantplay.errors import ChildProcessFailed, InputError
from quantplay.harness.speed import Arm, measure_speed, speed_job, spread
from quantplay.harness.speed_load import answer_tokens, fill, measure_turn
from quantplay.records import Performance

TEXT = "order 7: a lamp to oslo on friday"
LOAD = {"context_tokens": 64, "batch": 2, "threads": 1}


@pytest.fixture(scope="module")
def model(reference_gguf: Path) -> Iterator[LlamaModel]:
    with LlamaModel(reference_gguf, threads=1, context_tokens=64, sequences=2) as loaded:
        yield loaded


def test_a_turn_fills_the_context_exactly(model: LlamaModel) -> None:
    for context in (8, 64, 512):
        prompt = fill(model, TEXT, context)
        assert len(prompt) + answer_tokens(context) == context
    prompt = fill(model, TEXT, 64)
    turn = measure_turn(model, prompt)
    assert turn.prompt_tokens == 2 * len(prompt)
    assert turn.steps == answer_tokens(64) - 1
    assert 0 < turn.first_token_seconds < turn.prompt_seconds
    assert turn.generation_seconds > 0
    with pytest.raises(InputError, match="no text"):
        fill(model, " \n", 64)


def test_both_arms_are_measured(reference_gguf: Path, candidate_gguf: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text(f'{{"id": "a", "text": "{TEXT}"}}\n', encoding="utf-8")
    models = {"reference": str(reference_gguf), "candidate": str(candidate_gguf)}
    progress: list[int] = []
    found = {
        name: Performance.model_validate(body)
        for name, body in speed_job(
            {"models": models, "file": str(file), "repeats": 3, **LOAD}, lambda done, *_: progress.append(done)
        ).items()
    }
    assert list(found) == ["reference", "candidate"]
    assert progress == [1, 2, 3, 4]
    for performance in found.values():
        assert (performance.context_tokens, performance.batch, performance.repeats) == (64, 2, 3)
        assert 0 < performance.time_to_first_token_ms.p50 <= performance.time_to_first_token_ms.p95
        assert performance.generated_tokens_per_second == pytest.approx(
            2000 / performance.time_per_token_ms.p50, rel=1e-6
        )
        assert performance.cache_bytes > 0
        # each process holds an interpreter, numpy, llama.cpp and one model; never torch
        assert performance.weights_bytes < performance.peak_resident_bytes < 400 * 2**20
    assert found["candidate"].weights_bytes < found["reference"].weights_bytes / 4


def test_a_file_that_does_not_load_is_an_input_error(tmp_path: Path, reference_gguf: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_text("no model" * 100)
    with pytest.raises(InputError, match="can't load this file"):
        measure_speed({"reference": reference_gguf, "candidate": bad}, [TEXT], **LOAD)
    with pytest.raises(InputError, match="too few repeats"):
        measure_speed({"reference": reference_gguf}, [TEXT], repeats=1, **LOAD)


def test_an_arm_that_dies_is_named(reference_gguf: Path) -> None:
    with Arm("candidate", reference_gguf, {**LOAD, "text": TEXT}) as arm:
        arm.child.kill()
        with pytest.raises(ChildProcessFailed, match="the candidate arm ended with status -9"):
            arm.ask("turn")
    assert arm.child.returncode == -9


def test_spread_is_median_and_95th_percentile() -> None:
    found = spread([float(value) for value in range(1, 102)])
    assert (found.p50, found.p95) == (51.0, 96.0)
