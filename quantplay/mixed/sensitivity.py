"""The sensitivity scan: the damage each group does as each type, measured where it has to be and estimated elsewhere.

For every group two types are measured alone in the full-precision model, the one with the most bits and the one with the fewest,
and the group is restored alone in the all-low model. That happens on few sequences; a figure that is not certain enough after them is
measured on twice as many, until it is. The types between are interpolated over their rounding error, corrected by a glance at two
sequences, and checked on a few groups.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.digest import digest_of
from quantplay.errors import InputError
from quantplay.evalset import read_texts
from quantplay.mixed.assemble import assemble
from quantplay.mixed.folder_served import FolderServed
from quantplay.mixed.ggml_served import GgmlServed
from quantplay.mixed.groups import Group
from quantplay.mixed.interpolate import SMALLEST, estimate, interval, rank_agreement
from quantplay.mixed.journal import Journal
from quantplay.mixed.proxy import proxies
from quantplay.mixed.rows import held_out_rows, matrix_samples
from quantplay.mixed.served import Served
from quantplay.mixed.simulate import Simulator
from quantplay.process import peak_resident_bytes
from quantplay.quantizers.importance import ImportanceMatrix, measure_importance
from quantplay.quantizers.importance_kept import kept_file, kept_or_measured
from quantplay.quantizers.layer_types import FULL
from quantplay.records import Sensitivity

SERVED: dict[str, type[GgmlServed] | type[FolderServed]] = {"gguf": GgmlServed, "compressed-tensors": FolderServed}
"""Serving format -> what a scan knows of it."""
Progress = Callable[[int, int, str], None]
ENOUGH_AGREEMENT = 0.9  # between the proxy's ranking and the measured one; below it more groups are measured


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """How exact a scan is."""

    types: tuple[str, ...]  # a group may take; `full` among them does no damage and is not measured
    base: str | None = None  # every group's type in the all-low model; None: the one with the fewest bits
    few: float = 0.25  # share of the sequences every figure is first measured on
    uncertain: float = 0.25  # standard error over mean above which a figure is measured on twice the sequences
    glance: int = 2  # sequences on which the types between the two anchors are measured in every group
    checks: int = 2  # groups in which each interpolated type is measured like an anchor
    most_work: float = 1e15  # groups x weights x tokens above which groups are ranked by the gradient proxy first
    exact_share: float = 0.2  # of the groups, the first of the proxy's ranking
    audit_share: float = 0.1  # of the groups, drawn by their names' digests from the others


def measure_sensitivity(
    simulator: Simulator, settings: ScanSettings, *, journal: Path | None = None, on_progress: Progress | None = None
) -> Sensitivity:
    """The whole scan in this process. A scan that was killed goes on from `journal`."""
    return assemble([scan(simulator, settings, journal=journal, on_progress=on_progress)])


def scan(
    simulator: Simulator,
    settings: ScanSettings,
    *,
    journal: Path | None = None,
    part: tuple[int, int] = (0, 1),
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Part `part[0]` of `part[1]` of a scan, as JSON: `assemble` makes the record of all parts.

    A group's figures do not depend on the part or on the groups measured before it.
    """
    number, count = part
    if not 0 <= number < count:
        raise InputError("there is no such part of a scan", value=f"{number} of {count}", allowed="0 <= part < parts")
    started = time.perf_counter()
    work = Work(simulator, settings, journal)
    mine = list(simulator.groups.values())[number::count]
    wanted, proxy = work.ranked(mine)
    done = 0
    while True:
        for group in wanted[done:]:
            work.unit(group)
            done += 1
            if on_progress is not None:
                on_progress(done, len(wanted), "groups measured")
        agreement = work.agreement(wanted, proxy)
        if len(wanted) == len(mine) or agreement is None or agreement >= ENOUGH_AGREEMENT:
            break
        wanted += ranked_further(
            mine, wanted, proxy["scores"] if proxy else {}
        )  # the proxy is not to be trusted: measure as many again
    names = {group.name for group in wanted}
    return {
        "header": work.header(),
        "base": work.base_values(),
        "units": {group.name: work.unit(group) if group.name in names else work.unmeasured(group) for group in mine},
        "proxy": proxy,
        "block_forward_tokens": work.cost(names),
        "seconds": round(time.perf_counter() - started, 3),
        "peak_resident_bytes": peak_resident_bytes(),
    }


class Work:
    """One scan's measurements, each made once and journaled."""

    def __init__(self, simulator: Simulator, settings: ScanSettings, journal: Path | None) -> None:
        self.simulator, self.settings, self.served = simulator, settings, simulator.served
        self.types = self.served.in_order(kind for kind in settings.types if kind != FULL)
        self.lowest = settings.base or self.types[-1]
        self.served.in_order([self.lowest])
        sequences = len(simulator.rows)
        asked = {**asdict(settings), "types": list(self.types), "base": self.lowest}
        self.few = min(sequences, max(4, round(sequences * settings.few)))
        self.glance = max(2, min(settings.glance, self.few))
        self.key = digest_of({"simulator": simulator.identity(), "settings": asked})
        self.journal = Journal(journal, self.key)
        self.kinds = {group.name: self.possible(group) for group in simulator.groups.values()}
        self.base = {group.name: self.base_of(group) for group in simulator.groups.values()}
        self.kept = False
        names, between = sorted(self.kinds, key=by_digest), self.types[1:-1]
        self.checked: dict[str, list[str]] = {}
        for index in range(min(settings.checks, len(names)) * len(between)):
            self.checked.setdefault(names[index % len(names)], []).append(between[index % len(between)])

    def possible(self, group: Group) -> tuple[str, ...]:
        kinds = tuple(kind for kind in self.types if self.served.possible(group, kind))
        if not kinds:
            raise InputError(
                f"{group.name} can't be stored as any of the types of the scan", value=", ".join(self.types),
                allowed="types that need no importance matrix, such as Q4_K or Q2_K", fix="add one to mixed_precision.types",
            )  # fmt: skip
        return kinds

    def base_of(self, group: Group) -> str:
        """The all-low type, or the next one the group can have."""
        base, bits = self.lowest, self.served.bits
        if self.served.possible(group, base):
            return base
        larger = [kind for kind in self.kinds[group.name] if bits(kind) >= bits(base)]
        return larger[-1] if larger else self.kinds[group.name][0]

    def base_values(self) -> list[float]:
        """Damage of the all-low model, a sequence each."""
        found = self.journal.get("base")
        if found is None:
            self.keep_base()
            values = self.simulator.damage(self.base).values
            found = {
                "values": list(values),
                "block_forward_tokens": 2 * self.simulator.rows.size * len(self.simulator.blocks),
            }
            self.journal.put("base", found)
        return list(found["values"])

    def keep_base(self) -> None:
        if not self.kept:
            self.simulator.keep(self.base)
            self.kept = True

    def unit(self, group: Group) -> dict[str, Any]:
        """Everything measured about one group."""
        found = self.journal.get(group.name)
        if found is not None:
            return found
        hardness = self.base_values()
        self.keep_base()
        before = self.simulator.block_forward_tokens
        kinds = self.kinds[group.name]
        anchors = (kinds[0], kinds[-1])
        measured = [kind for kind in kinds if kind in anchors or kind in self.checked.get(group.name, ())]
        values = self.isolated(group, kinds, slice(0, self.glance))
        for kind, more in self.isolated(group, measured, slice(self.glance, self.few)).items():
            values[kind] += more
        # what alone does more harm than the whole all-low model is in no good mix, however exactly it is known
        known = self.few
        again = [kind for kind in dict.fromkeys(anchors) if self.is_uncertain(values[kind], hardness)]
        while again and known < len(hardness):
            for kind, more in self.isolated(group, again, slice(known, 2 * known)).items():
                values[kind] += more
            known = min(2 * known, len(hardness))
            again = [kind for kind in again if self.is_uncertain(values[kind], hardness)]
        others = {name: kind for name, kind in self.base.items() if name != group.name}
        left = self.simulator.damages([others], slice(0, self.few))[0].values
        body = {
            "values": values,
            "restored_gain": [low - rest for low, rest in zip(hardness, left, strict=False)],
            "errors": {kind: self.simulator.weights.error(group.tensors, kind) for kind in kinds},
            "block_forward_tokens": self.simulator.block_forward_tokens - before,
        }
        self.journal.put(group.name, body)
        return body

    def isolated(self, group: Group, kinds: Sequence[str], sequences: slice) -> dict[str, list[float]]:
        found = self.simulator.damages([{group.name: kind} for kind in kinds], sequences)
        return {kind: list(damage.values) for kind, damage in zip(kinds, found, strict=True)}

    def is_uncertain(self, values: Sequence[float], hardness: Sequence[float]) -> bool:
        found = estimate(values, hardness)
        hopeless = interval(found, len(values))[0] > float(np.mean(hardness))
        return found.mean > SMALLEST and found.own > self.settings.uncertain * found.mean and not hopeless

    def unmeasured(self, group: Group) -> dict[str, Any]:
        errors = {kind: self.simulator.weights.error(group.tensors, kind) for kind in self.kinds[group.name]}
        return {"values": {}, "restored_gain": [], "errors": errors, "block_forward_tokens": 0}

    # --- models too large to measure every group -------------------------------------------------------------------

    def ranked(self, mine: Sequence[Group]) -> tuple[list[Group], dict[str, Any] | None]:
        """The groups to measure first, and the proxies' figures where they were asked."""
        groups = self.simulator.groups.values()
        if len(groups) * sum(group.weights for group in groups) * self.simulator.rows.size <= self.settings.most_work:
            return list(mine), None
        found = self.journal.get("proxy")
        if found is None:
            before = self.simulator.block_forward_tokens
            found = proxies(self.simulator, self.base, slice(0, self.few))
            found = {**found, "block_forward_tokens": self.simulator.block_forward_tokens - before}
            self.journal.put("proxy", found)
        scores = found["scores"]
        by_score = sorted(mine, key=lambda group: (-scores[group.name], group.name))
        first = by_score[: max(1, round(self.settings.exact_share * len(mine)))]
        rest = sorted((group for group in mine if group not in first), key=lambda group: by_digest(group.name))
        return first + rest[: max(4, round(self.settings.audit_share * len(mine)))], found

    def agreement(self, measured: Sequence[Group], proxy: dict[str, Any] | None) -> float | None:
        """Rank correlation of the proxy with the damages it stands for."""
        if proxy is None:
            return None
        lowest = {group.name: self.unit(group)["values"][self.kinds[group.name][-1]] for group in measured}
        damages = [estimate(values, self.base_values()).mean for values in lowest.values()]
        return rank_agreement([proxy["scores"][name] for name in lowest], damages)

    def cost(self, names: set[str]) -> int:
        self.base_values()
        bodies = [self.journal.get(unit) for unit in ("base", "proxy", *sorted(names))]
        return sum(int(body["block_forward_tokens"]) for body in bodies if body is not None)

    def header(self) -> dict[str, Any]:
        simulator = self.simulator
        return {
            "model": self.served.model(), "importance": self.served.importance(),
            "rows": simulator.rows_digest, "sequences": len(simulator.rows), "tokens": int(simulator.rows.shape[1]),
            "positions": len(simulator.positions), "blocks": len(simulator.blocks), "types": list(self.types),
            "full": FULL in self.settings.types, "base": self.lowest, "key": self.key, "glance": self.glance,
            "groups": [
                {
                    "group": group.name, "tensors": list(group.tensors), "block": group.block, "weights": group.weights,
                    "full_bytes": self.served.full_bytes(group),
                    "bytes": {kind: self.served.group_bytes(group, kind) for kind in self.kinds[group.name]},
                }
                for group in simulator.groups.values()
            ],
        }  # fmt: skip


def by_digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def ranked_further(mine: Sequence[Group], wanted: Sequence[Group], scores: dict[str, float]) -> list[Group]:
    left = [group for group in mine if group not in wanted]
    return sorted(left, key=lambda group: (-scores[group.name], group.name))[: len(wanted)]


def scan_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process: one part of a scan, as JSON for `assemble`.

    payload: model (folder), reference (full-precision file), calibration (JSONL), samples and sample_tokens (that the quantizer is given),
    types, base or null, sequences, tokens, threads, journal (file), part, parts; for folders layers (names of what is quantized); for GGUF
    importance (whether there is a matrix), and kept and measured_with (folder of matrices measured before, and what one is measured
    with beside that; or left out).
    """
    model, journal = Path(payload["model"]), Path(payload["journal"])
    texts = [sample.text for sample in read_texts(Path(payload["calibration"]))]
    used = matrix_samples(len(texts), payload["samples"])
    rows = held_out_rows(model, texts[used:], sequences=payload["sequences"], tokens=payload["tokens"])
    served: Served
    if "layers" in payload:
        served = FolderServed(model, Path(payload["reference"]), payload["layers"])
    else:
        served = GgmlServed(Path(payload["reference"]), matrix_of(payload, texts[:used], report))
    simulator = Simulator(model, served, rows, threads=payload["threads"])
    settings = ScanSettings(types=tuple(payload["types"]), base=payload.get("base"))
    part = (int(payload.get("part", 0)), int(payload.get("parts", 1)))
    return scan(simulator, settings, journal=journal, part=part, on_progress=report)


def matrix_of(payload: dict[str, Any], texts: Sequence[str], report: Progress) -> ImportanceMatrix | None:
    """The importance matrix of these texts, measured where none is kept."""
    if not payload["importance"]:
        return None
    asked = {"tokens": payload["sample_tokens"], "threads": payload["threads"]}
    file = None
    if "kept" in payload:
        file = kept_file(Path(payload["kept"]), payload["measured_with"], samples=len(texts), **asked)
    model = Path(payload["model"])
    return kept_or_measured(file, lambda: measure_importance(model, texts, **asked, on_progress=report))
