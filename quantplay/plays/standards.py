"""The organisation's standards beside a plan, before anything runs: what departs from them, and with which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantplay import evalset
from quantplay.envelope.choose import order_for
from quantplay.errors import Fault, PlanError
from quantplay.plan import Plan
from quantplay.plan_file import PlanFile
from quantplay.plays.check_sets import Sets
from quantplay.plays.pin import Paths
from quantplay.records import Decision, Departure, StandardsCheck
from quantplay.standards import DEFAULT, HARDEST, Facts, Standards, compare, read_standards, use_case_of

FAMILY = "standards."
"""How the names of these rules begin."""
MEASURED_FIX = "run its plan again with a type of more bits, or with another attempt for mixed precision"


def standards_in(path: Path | None) -> Standards | None:
    """What QUANTPLAY_STANDARDS names, None where it names nothing. Raises InputError with every fault of the file."""
    return read_standards(path) if path is not None else None


def check_of_file(file: PlanFile, sets: Sets, standards: Standards | None) -> StandardsCheck | None:
    """The comparison of a plan file, as far as it and its sets can be read; None without standards."""
    if standards is None:
        return None
    calibration = file.parts.get("calibration")
    samples = min(len(sets.calibration), calibration.samples) if calibration and sets.calibration else None
    return checked(file.parts, Counter(item.slice for item in sets.gate or ()), samples, standards)


def check_of_plan(plan: Plan, paths: Paths, standards: Standards) -> StandardsCheck:
    """The same of a run's plan and its pinned files. Raises InputError where one of them can't be read."""
    counts = Counter(item.slice for item in evalset.read_items(paths.gate))
    samples = min(len(evalset.read_texts(paths.calibration)), plan.calibration.samples)
    return checked(parts_of(plan), counts, samples, standards)


def parts_of(plan: Plan) -> dict[str, Any]:
    return {field.alias or name: getattr(plan, name) for name, field in Plan.model_fields.items()}


def checked(
    parts: Mapping[str, Any], items: Mapping[str, int], samples: int | None, standards: Standards
) -> StandardsCheck:
    envelope = parts.get("envelope")
    types = (envelope.types or order_for(envelope.runtime)) if envelope is not None else ()
    known = use_case_of(standards, parts)
    return StandardsCheck(
        standards=standards.digest(),
        version=standards.version,
        title=standards.title,
        use_case=known[0] if known is not None else parts.get("use_case_class") or DEFAULT,
        departures=compare(standards, Facts.of_plan(parts, types=types, items=items, samples=samples)),
    )


def require_standards(check: StandardsCheck, plan: Plan, where: str) -> None:
    """Raise PlanError where a plan departs from the standards without a reason; one that explores is free to."""
    if check.open and plan.profile != "explore":
        raise PlanError(
            f"{where} departs from the standards without a reason",
            faults=[Fault(where=dotted_place(one), **words_of(one)) for one in check.open],
            fix=f"mend the plan or give the reasons, then `quantplay check {where}`",
        )


def departure_faults(file: PlanFile, check: StandardsCheck | None) -> tuple[Fault, ...]:
    """Departures without a reason, at their lines."""
    return tuple(file.fault(one.place, **words_of(one)) for one in (check.open if check else ()))


def idle_reasons(file: PlanFile, check: StandardsCheck | None) -> Iterator[Fault]:
    """Reasons for departures that there are not. A plan with faults of its own is not compared whole, so nothing is said of it."""
    if file.plan is None:
        return
    found = {one.rule for one in check.departures} if check else set()
    for position, deviation in enumerate(file.parts.get("deviations") or ()):
        if deviation.rule.startswith(FAMILY) and deviation.rule not in found:
            why = "the plan follows the standards there" if check else "no standards apply here"
            yield file.fault(
                ("deviations", position), f"deviations[{position + 1}]: accepts nothing, {why}", value=deviation.rule,
                fix="remove it" if check else "name the organisation's standards in QUANTPLAY_STANDARDS, or remove it",
            )  # fmt: skip


def words_of(departure: Departure) -> dict[str, str]:
    """A departure in the words of a fault."""
    accept = f"; or accept it: `deviations: [{{rule: {departure.rule}, reason: ...}}]`" if departure.acceptable else ""
    when = f" (when to deviate: {departure.when})" if departure.when and departure.acceptable else ""
    return {
        "what": f"{departure.rule}: {departure.what}",
        "value": departure.found,
        "allowed": departure.standard,
        "fix": f"{departure.fix}{accept}{when}",
    }


def dotted_place(departure: Departure) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in departure.place)


def shortfalls(
    standards: Standards, plan: Plan, *, decision: Decision, kind: str, samples: int
) -> tuple[Departure, ...]:
    """Where a locked model is not as `standards` say, by what was measured of it; with its plan's reason where that has one.

    kind: the serving type that was locked; samples: of its calibration set.
    """
    scores = {one.slice: one for one in decision.slices if one.metric == "score"}
    losses = [one.upper for one in decision.slices if one.metric == "gold_loss"]
    facts = Facts(
        parts=parts_of(plan),
        types=(kind,),
        items={name: one.items for name, one in scores.items() if name != HARDEST},
        samples=samples,
        drops={name: one.upper for name, one in scores.items()},
        loss_rise=max(losses, default=None),
        measured=True,
    )
    return tuple(
        one.model_copy(update={"fix": MEASURED_FIX}) if one.rule in ("standards.tolerance", "standards.bits") else one
        for one in compare(standards, facts)
    )
