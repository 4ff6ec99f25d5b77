"""Numbers that deserve a look. None of them ever passes or fails a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from quantplay.gate.pairing import Pair
from quantplay.plan import Gate
from quantplay.records import Alarm, Baseline, Divergence, Evaluation


def raise_alarms(gate: Gate, baseline: Baseline, evaluation: Evaluation, pairs: Collection[Pair]) -> tuple[Alarm, ...]:
    return (
        *divergence_alarms(gate, evaluation.divergence),
        *flip_alarms(gate, pairs),
        *machine_alarms(baseline, evaluation),
    )


def divergence_alarms(gate: Gate, seen: Divergence) -> Iterator[Alarm]:
    limits = gate.alarms
    if seen.mean_kl_nats > limits.mean_kl_nats:
        yield Alarm(
            name="mean divergence",
            value=seen.mean_kl_nats,
            limit=limits.mean_kl_nats,
            unit="nats",
            text=f"On held-out text the mean KL divergence is {seen.mean_kl_nats:.3f} nats a token "
            f"(standard error {seen.mean_kl_se:.3f}); the plan wants a look above {limits.mean_kl_nats:g}.",
        )
    if seen.top1_agreement < limits.top1_agreement:
        yield Alarm(
            name="top-1 agreement",
            value=seen.top1_agreement,
            limit=limits.top1_agreement,
            unit="share",
            text=f"Candidate and full precision prefer the same next token in {seen.top1_agreement:.1%} of places "
            f"(standard error {seen.top1_se:.1%}); the plan wants a look below {limits.top1_agreement:.1%}.",
        )
    ratio = seen.perplexity_candidate / seen.perplexity_reference
    if ratio > limits.perplexity_ratio:
        yield Alarm(
            name="perplexity ratio",
            value=ratio,
            limit=limits.perplexity_ratio,
            unit="ratio",
            text=f"Perplexity is {ratio:.3f} times that of full precision (standard error of its logarithm "
            f"{seen.log_perplexity_ratio_se:.3f}); the plan wants a look above {limits.perplexity_ratio:g}.",
        )


def flip_alarms(gate: Gate, pairs: Collection[Pair]) -> Iterator[Alarm]:
    rate = sum(pair.source.score != pair.candidate.score for pair in pairs) / len(pairs)
    if rate > gate.expected_flip_rate:
        error = math.sqrt(rate * (1 - rate) / len(pairs))
        yield Alarm(
            name="flips",
            value=rate,
            limit=gate.expected_flip_rate,
            unit="share",
            text=f"{rate:.1%} of the items changed their score (standard error {error:.1%}); the power calculation "
            f"expected {gate.expected_flip_rate:.1%}, so the gate is less sharp than planned.",
        )


def machine_alarms(baseline: Baseline, evaluation: Evaluation) -> Iterator[Alarm]:
    before, now = baseline.fingerprint, evaluation.fingerprint
    differing = [
        name
        for name, same in (
            ("hardware", before.hardware == now.hardware),
            ("software", before.software == now.software),
            ("threads", before.threads == now.threads),
        )
        if not same
    ]
    if differing:
        yield Alarm(
            name="different machine",
            value=float(len(differing)),
            limit=0.0,
            unit="differences",
            text=f"Baseline and candidate did not run on the same {', '.join(differing)}; "
            "a part of the drop can come from there.",
        )
