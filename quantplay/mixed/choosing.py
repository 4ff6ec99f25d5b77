"""One choice of a mix while it is made: rivals and mixes are measured, the model of damage fitted, and allocation solved again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.errors import InputError
from quantplay.mixed.allocate import Mix, allocate, differences, uniform_mixes
from quantplay.mixed.damage import Anchor, Seen, costs, fit_damage, predict, prediction_error
from quantplay.mixed.mixes import Candidate, Mixes, as_payload
from quantplay.process import Report
from quantplay.records import DamageFit, GroupOptions, MeasuredMix

MIXES = 3  # measured a round
WEIGHTS = (0.0, 0.5)  # of the restore-one anchor, beside the fitted one: what the other mixes of the first round assume
APART = 0.1  # of the groups; mixes of one round differ in at least so many


@dataclass
class Choosing:
    """What is known of one choice."""

    mixes: Mixes
    text: Path
    context_tokens: int
    workdir: Path
    threads: int
    on_progress: Report | None

    def __post_init__(self) -> None:
        self.sensitivity = self.mixes.sensitivity
        if self.mixes.digest != self.sensitivity.model:
            raise InputError(
                "the scan is of another model",
                value=self.mixes.digest,
                allowed=self.sensitivity.model,
                fix="scan this one",
            )
        self.groups, self.beside = self.mixes.groups, self.mixes.beside
        self.measured: list[MeasuredMix] = []
        self.peak = self.text_tokens = 0

    def require_possible(self, budget_bytes: int) -> None:
        if budget_bytes >= self.mixes.full_bytes:
            raise InputError(
                "full precision fits the budget, so nothing has to be mixed", value=f"{budget_bytes:,} bytes",
                allowed=f"less than {self.mixes.full_bytes:,} bytes", fix="lower mixed_precision.max_artifact_mib, or serve full precision",
            )  # fmt: skip
        require_room(self.groups, self.beside, budget_bytes)

    def fit(self) -> DamageFit:
        seen = [
            Seen(mix=one.groups, nats=one.mean_kl_nats, se=one.mean_kl_se, allocated=one.origin == "mix")
            for one in self.measured
            if one.groups
        ]
        anchor = Anchor(nats=self.sensitivity.base_kl_nats, se=self.sensitivity.base_kl_se)
        return fit_damage(self.groups, anchor, seen)

    def error(self) -> float | None:
        guesses = ((one.predicted_nats, one.mean_kl_nats) for one in self.measured)
        return prediction_error([(guess, found) for guess, found in guesses if guess is not None])

    def measure_rivals(self, short_type: str, budget_bytes: int, count: int) -> None:
        """What there is without mixing: the file that fell short, the format's own mixes below the budget, and uniform types."""
        rivals = self.mixes.rivals(budget_bytes, count, short_type)
        known = [one.mix for one in rivals]
        uniform = [
            self.mixes.candidate(f"uniform {kind}", "uniform", mix)
            for mix in uniform_mixes(costs(self.groups, self.fit()), budget_bytes - self.beside)[:count]
            for kind in set(mix.values())
            if mix not in known
        ]
        self.measure([*rivals, *uniform], 0, None)

    def proposals(self, budget_bytes: int, *, first: bool) -> list[Mix]:
        """The mixes to measure next, the most promising first; none when the best one is known already."""
        fit, room = self.fit(), budget_bytes - self.beside
        known = [one.groups for one in self.measured if one.origin == "mix"]
        best = allocate(costs(self.groups, fit), room)
        if best in known:
            return []
        found = [best]
        distance = max(1, round(APART * len(self.groups)))
        others = [fit.model_copy(update={"weight": weight}) for weight in WEIGHTS] if first else []
        for other in others:
            mix = allocate(costs(self.groups, other), room)
            if all(differences(mix, one) >= distance for one in found):
                found.append(mix)
        while len(found) < MIXES:
            try:
                found.append(allocate(costs(self.groups, fit), room, apart_from=[*found, *known], distance=distance))
            except LookupError:
                break
        return found[:MIXES]

    def measure_mixes(self, mixes: Sequence[Mix], number: int) -> None:
        named = [self.mixes.candidate(f"mix {number}.{index}", "mix", mix) for index, mix in enumerate(mixes, 1)]
        self.measure(named, number, self.fit())

    def measure(self, candidates: Sequence[Candidate], number: int, fit: DamageFit | None) -> None:
        """Make and measure files in a child process; what the model of damage says beforehand is kept beside."""
        predicted = [predict(self.groups, fit, one.mix) if fit is not None else None for one in candidates]
        outcome = process.run(
            self.mixes.job,
            {
                **self.mixes.payload(), "candidates": as_payload(candidates), "text": str(self.text),
                "context_tokens": self.context_tokens, "folder": str(self.workdir / "mixes"),
                "journal": str(self.workdir / "mixes.jsonl"), "threads": self.threads,
            },
            threads=self.threads,
            on_progress=self.on_progress,
        )  # fmt: skip
        self.peak = max(self.peak, outcome.peak_resident_bytes)
        for candidate, guess, body in zip(candidates, predicted, outcome.value, strict=True):
            self.text_tokens = body["tokens"]
            self.measured.append(
                MeasuredMix(
                    name=candidate.name, origin=candidate.origin, groups=candidate.mix, size_bytes=body["size_bytes"],
                    predicted_nats=guess, mean_kl_nats=body["mean_kl_nats"], mean_kl_se=body["mean_kl_se"], round=number,
                )
            )  # fmt: skip

    def chosen(self, one: MeasuredMix) -> dict[str, Any]:
        return said_of(one, *self.mixes.types_of(self.groups, one))


def said_of(one: MeasuredMix, kind: str, types: Mix) -> dict[str, Any]:
    """The fields of a choice that say what was chosen."""
    predicted = one.predicted_nats if one.predicted_nats is not None else one.mean_kl_nats
    return {"name": one.name, "origin": one.origin, "type": kind, "types": types, "size_bytes": one.size_bytes,
            "predicted_nats": predicted}  # fmt: skip


def require_room(groups: Sequence[GroupOptions], beside: int, budget_bytes: int) -> None:
    smallest = beside + sum(min(option.stored_bytes for option in group.types) for group in groups)
    if budget_bytes < smallest:
        raise InputError(
            "no mix is as small as the budget", value=f"{budget_bytes:,} bytes",
            allowed=f"at least {smallest:,} bytes ({smallest / 2**20:.2f} MiB): every group at its smallest type",
            fix="raise mixed_precision.max_artifact_mib, or allow smaller types in mixed_precision.types",
        )  # fmt: skip
