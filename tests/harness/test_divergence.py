"""Divergence against an independent computation, and where the answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from quantplay.engines.llama_cpp import LlamaModel
from quantplay.errors import InputError
from quantplay.evalset import read_texts
from quantplay.harness.divergence import (
    Compared,
    compare_rows,
    cut,
    divergence_job,
    measure_divergence,
    summarize,
)
from quantplay.records import Divergence

CONTEXT = 128


@pytest.fixture(scope="module")
def texts(pilot: Path) -> list[str]:
    return [sample.text for sample in read_texts(pilot / "heldout" / "text.jsonl")][:12]


def test_a_file_does_not_diverge_from_itself(candidate_gguf: Path, texts: list[str]) -> None:
    found = measure_divergence(candidate_gguf, candidate_gguf, texts, context_tokens=CONTEXT, threads=1)
    assert (found.mean_kl_nats, found.max_kl_nats, found.mean_kl_se, found.top1_agreement) == (0, 0, 0, 1)
    assert found.perplexity_reference == found.perplexity_candidate
    assert found.log_perplexity_ratio_se == 0


def test_against_a_loop_over_positions(reference_gguf: Path, candidate_gguf: Path, texts: list[str]) -> None:
    """Position by position in plain Python floats, straight from the definition."""
    progress: list[tuple[int, int, str]] = []
    found = measure_divergence(
        reference_gguf,
        candidate_gguf,
        texts,
        context_tokens=CONTEXT,
        threads=1,
        on_progress=lambda *step: progress.append(step),
    )
    settings = {"threads": 1, "context_tokens": CONTEXT}
    kl, same, losses, chunk_means = [], [], [], []
    with LlamaModel(reference_gguf, **settings) as first, LlamaModel(candidate_gguf, **settings) as second:
        tokens = first.tokenize("\n".join(texts))
        for start in range(0, len(tokens) - CONTEXT + 1, CONTEXT):
            chunk = [tokens[0], *tokens[start + 1 : start + CONTEXT]]
            p_rows, q_rows = first.logits(chunk).tolist(), second.logits(chunk).tolist()
            for position in range(CONTEXT // 2, CONTEXT - 1):
                p, q = softmax(p_rows[position]), softmax(q_rows[position])
                kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))
                same.append(p.index(max(p)) == q.index(max(q)))
                losses.append((-math.log(p[chunk[position + 1]]), -math.log(q[chunk[position + 1]])))
            chunk_means.append(np.mean(kl[-(CONTEXT - 1 - CONTEXT // 2) :]))
    assert found.tokens == len(kl) == len(chunk_means) * 63
    assert progress[-1][:2] == (len(chunk_means), len(chunk_means))
    # llama.cpp rounds differently where only half a chunk's rows are asked for: 1e-5 relative in a probability
    assert found.mean_kl_nats == pytest.approx(np.mean(kl), abs=1e-6)
    assert found.max_kl_nats == pytest.approx(max(kl), abs=1e-5)
    assert found.p99_kl_nats == pytest.approx(np.quantile(kl, 0.99), abs=1e-5)
    assert found.mean_kl_se == pytest.approx(np.std(chunk_means, ddof=1) / len(chunk_means) ** 0.5, abs=1e-6)
    assert found.top1_agreement == np.mean(same)
    assert found.perplexity_reference == pytest.approx(math.exp(np.mean([a for a, _ in losses])), rel=2e-5)
    assert found.perplexity_candidate == pytest.approx(math.exp(np.mean([b for _, b in losses])), rel=2e-5)


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(value - top) for value in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def test_rows_of_any_size_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    p, q = random.normal(size=(2, 50, 7)).astype(np.float32)
    targets = random.integers(7, size=50)
    whole = compare_rows(p, q, targets)
    monkeypatch.setattr("quantplay.engines.logits.BLOCK", 20)
    for one, other in zip(whole, compare_rows(p, q, targets), strict=True):
        assert one == pytest.approx(other)
    # a distribution with a known answer: uniform against (1/2, 1/4, 1/4)
    row = np.log([[1 / 3, 1 / 3, 1 / 3]]), np.log([[0.5, 0.25, 0.25]])
    kl, same, loss_p, loss_q = compare_rows(*row, np.array([1]))
    assert kl[0] == pytest.approx(math.log(1 / 3) - (math.log(0.5) + 2 * math.log(0.25)) / 3)
    assert bool(same[0])
    assert (loss_p[0], loss_q[0]) == pytest.approx((math.log(3), math.log(4)))


def test_standard_errors_are_of_chunks_not_of_positions() -> None:
    """All positions of a chunk alike: the information is in the number of chunks."""
    by_chunk = np.array([0.1, 0.2, 0.6])
    kl = np.repeat(by_chunk[:, None], 100, axis=1)
    found = summarize(Compared(kl, kl > 0.15, kl + 1, kl + 1))
    assert found.mean_kl_se == pytest.approx(by_chunk.std(ddof=1) / math.sqrt(3))
    assert found.top1_agreement == pytest.approx(2 / 3)


def test_refusals(reference_gguf: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match="too little held-out text") as caught:
        measure_divergence(reference_gguf, reference_gguf, ["short"], context_tokens=CONTEXT, threads=1)
    assert "at least 256 tokens" in str(caught.value)
    assert [len(chunk) for chunk in cut(list(range(399)), CONTEXT)] == [CONTEXT] * 3


def test_the_job_gives_the_record(reference_gguf: Path, candidate_gguf: Path, tmp_path: Path, texts: list[str]) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text(f'{{"id": "a", "text": "{"order 7: a lamp to oslo on friday; " * 40}"}}\n', encoding="utf-8")
    payload = {
        "reference": str(reference_gguf),
        "candidate": str(candidate_gguf),
        "file": str(file),
        "context_tokens": CONTEXT,
        "threads": 1,
    }
    found = Divergence.model_validate(divergence_job(payload, lambda *_: None))
    assert found.mean_kl_nats > 0
    assert found.mean_kl_nats <= found.p99_kl_nats <= found.max_kl_nats
