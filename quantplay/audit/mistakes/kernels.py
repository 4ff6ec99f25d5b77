"""No kernel support: chip and runtime do not execute the type, so every weight is unpacked before it is used."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.formats import fits_runtime
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.envelope.accelerators import row_of
from quantplay.envelope.chips import Chip, kernel_of
from quantplay.envelope.fitting import RULE
from quantplay.envelope.runtimes import RUNTIMES
from quantplay.envelope.wrong_move import RULE as WRONG_MOVE
from quantplay.formats import TYPES
from quantplay.gate.target import HERE, chip_of, plain
from quantplay.records import Candidate

SLOWER = 1.1  # times full precision's time per token, where speed was to be won
UNPACKED = 2.0  # the same, whatever was to be won: nothing but unpacking costs as much


def no_kernel(facts: Facts) -> Iterator[Sign]:
    plan, artifact = facts.plan, facts.artifact
    if plan is None or artifact is None or plan.envelope.bottleneck == "storage" or fits_runtime(facts) is False:
        return
    against = next(
        (why for why in (facts.envelope.wrong_moves if facts.envelope else ()) if why.startswith("No native support")),
        None,
    )
    waived = facts.waiver(RULE, *([WRONG_MOVE] if against is not None else []))  # both were told, and accepted, before
    fix = "quantplay plan PLAN ranks the types that run natively there"
    table = from_table(facts)
    if table is not None and not table[0]:
        yield Sign(
            why=f"{artifact.type} in {plan.envelope.runtime} on {table[2]}: {table[1]}.", fix=fix, waived=waived,
            evidence=(facts.shows("artifact", f"{artifact.format}, {artifact.type}"), facts.shows("plan", f"{plan.envelope.runtime}, {table[2]}")),
        )  # fmt: skip
    elif (predicted := prediction(facts)) is not None and not predicted[0]:
        yield Sign(
            why=f"Play 2 said it before: no native kernel for {artifact.type}, {predicted[1]}.", fix=fix, waived=waived,
            evidence=(facts.shows("envelope", predicted[1]),),
        )  # fmt: skip
    unpacked = next((one for one in candidates(facts) if one.held_bytes >= UNPACKED * one.weights_bytes > 0), None)
    if unpacked is not None:
        yield Sign(
            why=f"{unpacked.type} is unpacked in memory: {unpacked.held_bytes / 2**20:,.1f} MiB of {unpacked.weights_bytes / 2**20:,.1f}.",
            evidence=(facts.shows("envelope", f"{unpacked.held_bytes:,} bytes held"),), fix=fix, waived=waived,
        )  # fmt: skip
    if against is not None:
        yield Sign(why=against, evidence=(facts.shows("envelope", against),), fix=fix, waived=waived)
    held = facts.evaluation
    if held is not None and held.reference_performance.time_per_token_ms.p50 > 0:
        ratio = held.performance.time_per_token_ms.p50 / held.reference_performance.time_per_token_ms.p50
        limit = SLOWER if plan.envelope.bottleneck in ("latency", "throughput") else UNPACKED
        if ratio > limit:
            yield Sign(
                why=f"Measured, a token takes {ratio:.2f} times as long as at full precision; {plan.envelope.bottleneck} was to be won.",
                evidence=(facts.shows("evaluation", f"time per token {ratio:.2f} times full precision's"),), fix=fix, waived=waived,
            )  # fmt: skip


def from_table(facts: Facts) -> tuple[bool, str, str] | None:
    """Native, how, on what; by quantplay's table of chips. None where the table does not have it."""
    assert facts.plan is not None
    assert facts.artifact is not None
    envelope, artifact = facts.plan.envelope, facts.artifact
    if artifact.type not in TYPES or envelope.runtime not in RUNTIMES:
        return None
    if envelope.device == "cpu":
        found = kernel_of(artifact.type, artifact.format, envelope.runtime, None)
        return found.native, found.words, "a CPU"
    chip = target_chip(facts)
    if chip is None:
        return None
    found = kernel_of(artifact.type, artifact.format, envelope.runtime, chip[1])
    return found.native, found.words, chip[0]


def target_chip(facts: Facts) -> tuple[str, Chip] | None:
    """The row of the chip that serves: as the plan names it, else as it was measured on."""
    assert facts.plan is not None
    wanted = facts.plan.envelope.target_chip
    if wanted is not None and plain(wanted) != HERE and (row := row_of(wanted)) is not None:
        return row
    for place in (facts.evaluation, facts.envelope):
        if place is not None and place.fingerprint.hardware.accelerators:
            return row_of(chip_of(facts.plan.envelope, place.fingerprint.hardware))
    return None


def candidates(facts: Facts) -> tuple[Candidate, ...]:
    """What play 2 said of the type that was made."""
    if facts.envelope is None or facts.artifact is None:
        return ()
    known = (facts.envelope.chosen, *facts.envelope.candidates)
    return tuple(one for one in known if one.type == facts.artifact.type)


def prediction(facts: Facts) -> tuple[bool, str] | None:
    told = (one.prediction for one in candidates(facts) if one.prediction is not None)
    return next(((one.native, one.kernel) for one in told), None)


def unknown_chip(facts: Facts) -> str | None:
    if from_table(facts) is None and prediction(facts) is None:
        return (
            "The chip is not in the table and play 2 predicted nothing for it: `quantplay plan PLAN` there would tell."
        )
    return None


NO_KERNEL_SUPPORT = Classic(
    name="no_kernel_support", question="Do chip and runtime have kernels for the type?", owner="ml_engineer", signs=no_kernel,
    needs=lambda facts: ("plan", "artifact", "envelope", "evaluation"), also=unknown_chip, rules=(RULE,),
)  # fmt: skip
