"""`quantplay standards falls-short [FILE]`: which locked models are not as a standards file says, before it is put in force."""

from __future__ import annotations

import json as json_library
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.outcomes import FALLS_SHORT

if TYPE_CHECKING:
    from quantplay.plan import Plan
    from quantplay.records import Departure, MadeOf, StandardsCheck
    from quantplay.standards import Standards
    from quantplay.store.registry import Store
    from quantplay.store.revalidations import LockedPackage


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One locked model beside the standards."""

    entry: LockedPackage
    short: tuple[Departure, ...]
    accepted: tuple[Departure, ...]  # departures for which its plan gives a reason
    locked_under: StandardsCheck | None
    unknown: str | None = None  # why nothing can be said

    def body(self) -> dict[str, Any]:
        before = self.locked_under
        return {
            "package": self.entry.key, "run": self.entry.package.run, "name": self.entry.name, "profile": self.entry.profile,
            "locked_at": self.entry.locked_at.isoformat(timespec="seconds"), "falls_short": [one.body() for one in self.short],
            "accepted": [one.body() for one in self.accepted], "unknown": self.unknown,
            "locked_under": None if before is None else {"version": before.version, "standards": before.standards},
        }  # fmt: skip


def command(file: Path | None = None, json: bool = False) -> int:
    from quantplay.cli.standards_check import named
    from quantplay.settings import settings
    from quantplay.standards import read_standards
    from quantplay.store.registry import open_store

    standards = read_standards(named(file))
    with open_store(settings()) as store:
        models = [compared(store, standards, entry) for entry in store.locked_packages()]
    short = [one for one in models if one.short]
    if json:
        body = {
            "standards": standards.digest(), "version": standards.version, "falls_short": len(short),
            "models": [one.body() for one in models],
        }  # fmt: skip
        print(json_library.dumps(body, indent=2))
    else:
        show(standards, models, short)
    return FALLS_SHORT if short else 0


def compared(store: Store, standards: Standards, entry: LockedPackage) -> Compared:
    from quantplay.plays.standards import shortfalls

    made = entry.package.made_of
    plan, decision, artifact = (
        (None, None, None)
        if made is None
        else (store.get_plan(made.plan), store.get_decision(made.decision), store.get_artifact(made.artifact))
    )
    if made is None or plan is None or decision is None or artifact is None:
        why = "locked by an earlier version, which did not note what it was made of; run its plan again"
        return Compared(entry=entry, short=(), accepted=(), locked_under=None, unknown=why)
    found = shortfalls(standards, plan, decision=decision, kind=artifact.type, samples=samples_of(store, plan, made))
    accepted = tuple(one for one in found if one.acceptable and one.reason is not None)
    return Compared(
        entry=entry, short=tuple(one for one in found if one not in accepted), accepted=accepted, locked_under=decision.standards
    )  # fmt: skip


def samples_of(store: Store, plan: Plan, made: MadeOf) -> int:
    """How many calibration samples were in use; where the check of that run is not there, how many the plan asks for."""
    from quantplay.plays import keys
    from quantplay.records import Inputs

    manifests = [one for key in made.inputs if (one := store.get_manifest(key)) is not None]
    if len(manifests) != len(made.inputs):
        return plan.calibration.samples
    check = store.get_calibration_check(
        keys.calibration_key(plan, Inputs.model_validate({one.kind: one for one in manifests}))
    )
    return check.samples if check is not None else plan.calibration.samples


def show(standards: Standards, models: list[Compared], short: list[Compared]) -> None:
    from quantplay.cli.console import console
    from quantplay.cli.render import table_of

    title = f"{standards.title}, version {standards.version}"
    if not models:
        console().print(f"No model is locked yet, so none falls short of {title}.", markup=False)
        return
    columns = [
        ("package", "left"),
        ("plan", "left"),
        ("locked", "left"),
        ("rule", "left"),
        ("falls short", "text"),
        ("fix", "text"),
    ]
    rows = [
        [
            one.entry.key[:12], one.entry.name, f"{one.entry.locked_at:%Y-%m-%d}", gap.rule,
            f"{gap.what}; they say {gap.standard}, here it is {gap.found}", gap.fix,
        ]
        for one in short
        for gap in one.short
    ]  # fmt: skip
    if rows:
        console().print(table_of(f"Locked models that fall short of {title}", columns, rows))
    for one in models:
        if one.unknown is not None:
            console().print(f"{one.entry.key[:12]} {one.entry.name}: {one.unknown}", markup=False)
    with_reason = sum(bool(one.accepted) for one in models)
    told = f"; {with_reason} depart from it with a reason" if with_reason else ""
    console().print(f"{len(short)} of {len(models)} locked models fall short of {title}{told}.", markup=False)
    if short:
        console().print(
            "A locked model stays as it is; a new run of its plan, or a reason there, brings it up to the standards."
        )
