"""Simulated candidates as whole records, so that `quantplay.gate.decide` itself is tried: five slices, hardest items, losses.

The source model has every other item right. A candidate turns answers over with the plan's rate of flips, the hardest tenth
four times as often as the average item and the others less, and loses a share of one slice on top. The expected answers'
losses scatter; damage raises them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantplay.digest import digest_of
from quantplay.gate import decide
from quantplay.gate.validity import Rates
from quantplay.plan import Envelope, Gate
from quantplay.records import (
    Arm,
    ArmRun,
    Artifact,
    Baseline,
    Decision,
    Divergence,
    Evaluation,
    Fingerprint,
    Hardware,
    ItemResult,
    NoiseFloor,
    Performance,
    Software,
    Spread,
    Verdict,
)
from quantplay.stats import HARDEST, power_report
from quantplay.stats.plan_power import HARDEST_FLIP_FACTOR

SLICES = ("multi_step", "instructions", "output_format", "long_context", "edge_cases")
HARNESS, MODEL, FILE = (digest_of(name) for name in ("harness", "model", "file"))
LOSS_SPREAD = 0.15  # nats: standard deviation of the change of one expected answer's loss


@dataclass(frozen=True, kw_only=True)
class WholeGate:
    """A gate like the pilot's, and the baseline it looks at."""

    items: int = 600  # a slice
    flip_rate: float = 0.05
    max_drop: float = 4.0  # points
    hardest_max_drop: float = 9.0

    @cached_property
    def gate(self) -> Gate:
        return Gate.model_validate(
            {
                "expected_flip_rate": self.flip_rate,
                "slices": {name: {"max_drop": self.max_drop, "broken_drop": 2 * self.max_drop} for name in SLICES},
                HARDEST: {
                    "share": 0.1,
                    "max_drop": self.hardest_max_drop,
                    "broken_drop": 2 * self.hardest_max_drop,
                    "max_loss_rise": 0.1,
                    "broken_loss_rise": 0.2,
                },
            }
        )

    @property
    def planned(self) -> float:
        """Chance that a lossless candidate passes, by the power calculation."""
        return power_report(self.gate, dict.fromkeys(SLICES, self.items)).joint_probability

    @cached_property
    def baseline(self) -> Baseline:
        items = [
            ItemResult(id=key, slice=name, cluster=key, score=float(number % 2), graded=False, response="x")
            for name in SLICES
            for number, key in enumerate(f"{name}-{number:05d}" for number in range(self.items))
        ]
        generator = np.random.default_rng(0)
        hardest = generator.choice(len(items), round(self.gate.hardest.share * len(items)), replace=False)
        return Baseline(
            model=MODEL, evaluation=digest_of("set"), harness=HARNESS, fingerprint=FINGERPRINT, precision="float32",
            source=arm("source", items), reference=arm("reference", items),
            hardest=tuple(items[number].id for number in hardest.tolist()), difficulty="drawn",
            noise_floor=NoiseFloor(changed="nothing", items=len(items), flip_rate=0, max_drop_points={}),
            performance=PERFORMANCE,
        )  # fmt: skip

    @cached_property
    def evaluation(self) -> Evaluation:
        """Of a candidate that changes nothing."""
        losses = dict.fromkeys(self.baseline.hardest, 1.0)
        return Evaluation(
            baseline=self.baseline.digest(), artifact=FILE, harness=HARNESS, fingerprint=FINGERPRINT,
            candidate=arm("candidate", self.baseline.source.items), divergence=DIVERGENCE, performance=PERFORMANCE,
            reference_performance=PERFORMANCE, hardest_loss_reference=losses, hardest_loss_candidate=losses,
        )  # fmt: skip

    def decide(self, drop: float, generator: np.random.Generator) -> Decision:
        """Decision on a candidate that loses `drop` (a share) of the first slice."""
        before = self.baseline.source.items
        right = np.array([item.score for item in before]) == 1
        hard = np.isin([item.id for item in before], self.baseline.hardest)
        first = np.array([item.slice == SLICES[0] for item in before])
        others = (1 - HARDEST_FLIP_FACTOR * hard.mean()) / (1 - hard.mean())
        chance = np.where(hard, HARDEST_FLIP_FACTOR, others) * self.flip_rate
        chance += np.where(right & first, 2 * drop, 0.0)  # half the items are right
        flipped = generator.random(len(before)) < chance
        items = tuple(
            item.model_copy(update={"score": 1 - item.score}) if turned else item
            for item, turned in zip(before, flipped.tolist(), strict=True)
        )
        rises = generator.normal(drop * first[hard].mean(), LOSS_SPREAD, int(hard.sum()))
        losses = {key: 1.0 + rise for key, rise in zip(self.baseline.hardest, rises.tolist(), strict=True)}
        candidate = self.evaluation.candidate.model_copy(update={"items": items})
        evaluation = self.evaluation.model_copy(update={"candidate": candidate, "hardest_loss_candidate": losses})
        return decide(self.gate, self.baseline, evaluation, envelope=Envelope(), artifact=ARTIFACT)

    def rates(self, drop: float, *, repeats: int, seed: int) -> Rates:
        """How often each verdict came on `repeats` such candidates."""
        generator = np.random.default_rng(seed)
        counts: Counter[Verdict] = Counter(self.decide(drop, generator).verdict for _ in range(repeats))
        return Rates(repeats=repeats, counts=counts)


def arm(name: Arm, items: list[ItemResult] | tuple[ItemResult, ...]) -> ArmRun:
    return ArmRun(
        arm=name, runtime="transformers" if name == "source" else "llama.cpp", precision="float32",
        model=FILE if name == "candidate" else MODEL, split="gate", harness=HARNESS, items=tuple(items), seconds=1.0,
        peak_resident_bytes=1,
    )  # fmt: skip


# Speed, memory and divergence play no part in these verdicts.
FINGERPRINT = Fingerprint(
    hardware=Hardware(cpu="any", cpu_features=digest_of("any"), cores=1, memory_bytes=1),
    software=Software(system="linux", python="3.11", packages={}, runtime="llama.cpp"),
    threads=1,
)
PERFORMANCE = Performance(
    context_tokens=256, batch=1, threads=1, repeats=1, time_to_first_token_ms=Spread(p50=1, p95=1),
    time_per_token_ms=Spread(p50=1, p95=1), prompt_tokens_per_second=1, generated_tokens_per_second=1, weights_bytes=1,
    cache_bytes=1, peak_resident_bytes=1,
)  # fmt: skip
DIVERGENCE = Divergence(
    tokens=1, mean_kl_nats=0, mean_kl_se=0, p99_kl_nats=0, max_kl_nats=0, top1_agreement=1, top1_se=0,
    perplexity_reference=1, perplexity_candidate=1, log_perplexity_ratio_se=0,
)  # fmt: skip
ARTIFACT = Artifact(
    recipe=digest_of("recipe"), format="gguf", type="Q4_K_M", file_name="model.gguf", sha256=FILE, size_bytes=1,
    bits_per_weight=4.5, tensors={}, importance_matrix=None, seconds=1.0, peak_resident_bytes=1,
)  # fmt: skip
