"""Where a production model was measured: on the chip it will be served on, or with a recorded reason why not."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.envelope.hardware import read_hardware
from quantplay.errors import Fault, InputError
from quantplay.gate.target import RULE, check_target, chip_of, names_a_chip, target_sentence
from quantplay.plan import Plan
from quantplay.plan_file import PlanFile
from quantplay.records import Hardware, Waiver


def target_waivers(plan: Plan, hardware: Hardware) -> Iterator[Waiver]:
    """The plan's reason for measuring on another chip than the one that serves, where it does."""
    check = check_target(plan.envelope, chip_of(plan.envelope, hardware))
    if not check.same:
        for deviation in plan.deviations:
            if deviation.rule == RULE:
                yield Waiver(rule=RULE, reason=deviation.reason, what=target_sentence(check))


def target_findings(file: PlanFile) -> Iterator[Fault]:
    """What `quantplay check` says of the chip: a fault of a production plan, worth a look in any other one."""
    envelope, deviations = file.parts.get("envelope"), file.parts.get("deviations") or ()
    if envelope is None or any(one.rule == RULE for one in deviations):
        return
    check = check_target(envelope, chip_of(envelope, read_hardware()))
    production = file.parts.get("profile") == "production"
    if (not check.same and (check.target is not None or production)) or (production and not names_a_chip(check.target)):
        yield file.fault(
            ("envelope", "target_chip"),
            "envelope.target_chip: the model would not be measured on the chip that will serve it",
            value=check.target or "not named",
            allowed=f"{check.measured}, which is this machine's, or `this machine`",
            fix="write `target_chip: this machine` under `envelope:` where this is the one; else run the plan on that chip, or accept the "
            f"difference with a deviation: {{rule: {RULE}, reason: ...}}",
        )


def require_target(plan: Plan, hardware: Hardware) -> None:
    """Raise InputError where a production plan would be decided by numbers of another chip without a recorded reason."""
    check = check_target(plan.envelope, chip_of(plan.envelope, hardware))
    same = check.same and names_a_chip(check.target)
    if plan.profile == "production" and not same and not any(target_waivers(plan, hardware)):
        raise InputError(
            "a production plan has to be measured on the chip that will serve the model",
            value=f"this machine has {check.measured}",
            allowed=f"envelope.target_chip: {check.target or 'not named'}",
            fix=f"run it on that chip, write `target_chip: this machine` where this is the one, or accept the difference with "
            f"a deviation: {{rule: {RULE}, reason: ...}}",
        )
