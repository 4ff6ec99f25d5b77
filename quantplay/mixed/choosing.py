"""One choice of a mix while it is made: rivals and mixes are measured, the model of damage fitted, and allocation solved again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.envelope.mix import BULK
from quantplay.errors import InputError
from quantplay.formats import TYPES
from quantplay.mixed.allocate import Mix, allocate, differences, uniform_mixes
from quantplay.mixed.candidates import (
    Candidate,
    as_payload,
    bytes_beside,
    llama_mixes,
    mix_bytes,
    options_of,
    tensor_types_of,
)
from quantplay.mixed.damage import Anchor, Seen, costs, fit_damage, predict, prediction_error
from quantplay.process import Report
from quantplay.records import DamageFit, GroupOptions, MeasuredMix, Sensitivity

MIXES = 3  # measured a round
WEIGHTS = (0.0, 0.5)  # of the restore-one anchor, beside the fitted one: what the other mixes of the first round assume
APART = 0.1  # of the groups; mixes of one round differ in at least so many
FTYPE = 7  # llama.cpp's number of Q8_0: every matrix is named, so nothing takes it


@dataclass
class Choosing:
    """What is known of one choice."""

    sensitivity: Sensitivity
    reference: Path
    importance: Path | None
    text: Path
    context_tokens: int
    workdir: Path
    threads: int
    on_progress: Report | None

    def __post_init__(self) -> None:
        self.header: GgufHeader = read_gguf_header(self.reference)
        self.shapes = {name: tensor.shape for name, tensor in self.header.tensors.items()}
        self.digest = digest_of_file(self.reference)
        if self.digest != self.sensitivity.model:
            raise InputError(
                "the scan is of another model", value=self.digest, allowed=self.sensitivity.model, fix="scan this one"
            )
        self.full_bytes = self.reference.stat().st_size
        self.groups = options_of(self.sensitivity, self.shapes)
        self.beside = bytes_beside(self.header, self.full_bytes, self.groups)
        self.measured: list[MeasuredMix] = []
        self.peak = self.text_tokens = 0

    def require_possible(self, budget_bytes: int) -> None:
        if budget_bytes >= self.full_bytes:
            raise InputError(
                "full precision fits the budget, so nothing has to be mixed", value=f"{budget_bytes:,} bytes",
                allowed=f"less than {self.full_bytes:,} bytes", fix="lower mixed_precision.max_artifact_mib, or serve F32",
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
        """What llama.cpp offers: its own mixes nearest below the budget, the one that fell short, and uniform types."""
        mixes = llama_mixes(self.header, self.reference, importance=self.importance is not None, also=short_type)
        inside = {name for group in self.groups for name in next(iter(group.tensors.values()))}
        sizes = {name: self.beside + mix_bytes(types, self.shapes, inside) for name, types in mixes.items()}
        fitting = sorted((name for name in sizes if sizes[name] <= budget_bytes), key=lambda name: (-sizes[name], name))
        names = [
            *([short_type] if short_type in mixes else []),
            *(name for name in fitting[:count] if name != short_type),
        ]
        plain = uniform_mixes(costs(self.groups, self.fit()), budget_bytes - self.beside)
        own = [
            (Candidate(name=f"llama.cpp {name}", ftype=TYPES[name].ftype or FTYPE, tensor_types={}), {})
            for name in names
        ]
        uniform = [(self.candidate(f"uniform {kind}", mix), mix) for mix in plain[:count] for kind in set(mix.values())]
        self.measure([*own, *uniform], 0, ["llama.cpp"] * len(own) + ["uniform"] * len(uniform), None)

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
        fit = self.fit()
        named = [(self.candidate(f"mix {number}.{index}", mix), mix) for index, mix in enumerate(mixes, 1)]
        self.measure(named, number, ["mix"] * len(named), fit)

    def candidate(self, name: str, mix: Mapping[str, str]) -> Candidate:
        return Candidate(name=name, ftype=FTYPE, tensor_types=tensor_types_of(self.groups, mix))

    def measure(
        self, named: Sequence[tuple[Candidate, Mix]], number: int, origins: Sequence[Any], fit: DamageFit | None
    ) -> None:
        """Make and measure files in a child process; what the model of damage says beforehand is kept beside."""
        predicted = [predict(self.groups, fit, mix) if fit is not None else None for _, mix in named]
        outcome = process.run(
            "quantplay.mixed.candidates:measure_job",
            {
                "reference": str(self.reference), "reference_digest": self.digest,
                "importance": str(self.importance) if self.importance else None,
                "candidates": as_payload([candidate for candidate, _ in named]), "text": str(self.text),
                "context_tokens": self.context_tokens, "folder": str(self.workdir / "mixes"),
                "journal": str(self.workdir / "mixes.jsonl"), "threads": self.threads,
            },
            threads=self.threads,
            on_progress=self.on_progress,
        )  # fmt: skip
        self.peak = max(self.peak, outcome.peak_resident_bytes)
        for (candidate, mix), origin, guess, body in zip(named, origins, predicted, outcome.value, strict=True):
            self.text_tokens = body["tokens"]
            self.measured.append(
                MeasuredMix(
                    name=candidate.name, origin=origin, groups=mix, size_bytes=body["size_bytes"], predicted_nats=guess,
                    mean_kl_nats=body["mean_kl_nats"], mean_kl_se=body["mean_kl_se"], round=number,
                )
            )  # fmt: skip


def require_room(groups: Sequence[GroupOptions], beside: int, budget_bytes: int) -> None:
    smallest = beside + sum(min(option.stored_bytes for option in group.types) for group in groups)
    if budget_bytes < smallest:
        raise InputError(
            "no mix is as small as the budget", value=f"{budget_bytes:,} bytes",
            allowed=f"at least {smallest:,} bytes ({smallest / 2**20:.2f} MiB): every group at its smallest type",
            fix="raise mixed_precision.max_artifact_mib, or allow smaller types in mixed_precision.types",
        )  # fmt: skip


def chosen(one: MeasuredMix, groups: Sequence[GroupOptions], nats: float) -> dict[str, Any]:
    """The fields of a choice that say what was chosen."""
    predicted = one.predicted_nats if one.predicted_nats is not None else nats
    kind = one.name.removeprefix("llama.cpp ") if one.origin == "llama.cpp" else nearest_type(groups, one.groups)
    return {"name": one.name, "origin": one.origin, "type": kind, "types": one.groups, "size_bytes": one.size_bytes,
            "predicted_nats": predicted}  # fmt: skip


def nearest_type(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> str:
    """The serving type whose bulk holds most bytes of the mix: what the recipe is named after."""
    held: dict[str, int] = {}
    for group in groups:
        kind = mix[group.group]
        held[kind] = held.get(kind, 0) + next(one.stored_bytes for one in group.types if one.kind == kind)
    names: dict[str, str] = {}
    for name, bulk in BULK.items():
        if name in TYPES:
            names.setdefault(bulk, name)
    known = {kind: size for kind, size in held.items() if kind in names}
    return names[max(known, key=lambda kind: (known[kind], kind))] if known else "Q8_0"
