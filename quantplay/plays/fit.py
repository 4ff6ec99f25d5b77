"""May a play be done on this hardware? The plan's envelope names a chip, and a run's numbers come from one machine's kind."""

from __future__ import annotations

from quantplay.gate.target import RULE, check_target, chip_of
from quantplay.plan import Plan
from quantplay.records import Hardware


def misfit(plan: Plan, hardware: Hardware, measured: Hardware | None) -> str | None:
    """Why a play of `plan` may not be done on `hardware`, a clause; None where it may.

    `measured`: what the baseline of the run was measured on, None before there is one. A recorded deviation accepts another
    chip than the envelope's; nothing accepts a baseline and a candidate from two kinds of machine.
    """
    check = check_target(plan.envelope, chip_of(plan.envelope, hardware))
    accepted = any(deviation.rule == RULE for deviation in plan.deviations)
    if not check.same and not accepted:
        if check.target is not None:
            return f"the plan asks for {check.target}"
        if plan.profile == "production":
            return "the plan does not name the chip that will serve the model"
    if measured is not None and measured.digest() != hardware.digest():
        return f"the run's baseline was measured on other hardware: {described(measured)}"
    return None


def described(hardware: Hardware) -> str:
    """Hardware in a line for people."""
    chips = ", ".join(hardware.accelerators) or "no accelerator"
    return f"{chips}; {hardware.cores} cores of {hardware.cpu}, {hardware.memory_bytes / 2**30:.0f} GiB"
