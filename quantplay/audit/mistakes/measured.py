"""Not measured on target: the numbers are of another chip, another runtime or a lighter load than what serves."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.gate.target import HERE, RULE, check_target, chip_of, plain


def not_measured(facts: Facts) -> Iterator[Sign]:
    plan, found = facts.plan, facts.evaluation
    if plan is None or found is None:
        return
    envelope, speed = plan.envelope, found.performance
    waived, fix = facts.waiver(RULE), "quantplay run PLAN on the chip that serves"
    hardware = found.fingerprint.hardware
    measured = chip_of(envelope, hardware)
    check, shown = check_target(envelope, measured), facts.shows("evaluation", f"measured on {measured}")

    def sign(why: str, *, waivable: bool = True) -> Sign:
        return Sign(why=why, evidence=(shown,), fix=fix, waived=waived if waivable else None)

    if envelope.target_chip is None and plan.profile == "production":
        yield sign(f"The plan names no chip that serves, so nothing shows that {measured} is one.")
    elif envelope.target_chip is not None and not check.same:
        yield sign(f"Measured on {measured}; {envelope.target_chip} serves.")
    elif facts.envelope is not None and plain(envelope.target_chip or HERE) == HERE:
        seen = chip_of(envelope, facts.envelope.fingerprint.hardware)
        if seen != measured:
            yield sign(f"Measured on {measured}, while play 2 chose for {seen}.")
    if facts.baseline is not None:
        then = facts.baseline.fingerprint
        if (before := chip_of(envelope, then.hardware)) != measured:
            yield sign(f"The candidate was measured on {measured}, and the baseline on {before}.")
        elif then.software.runtime != found.fingerprint.software.runtime:
            yield sign(
                f"The runtime was {found.fingerprint.software.runtime} for the candidate and {then.software.runtime} for the baseline.",
                waivable=False,
            )
    if (
        facts.decision is not None
        and facts.decision.target is not None
        and check.same
        and not facts.decision.target.same
    ):
        yield sign(
            f"The decision says that it was measured on {facts.decision.target.measured}, another chip than the one that serves."
        )
    if envelope.device == "gpu" and not hardware.accelerators:
        yield sign(f"The plan serves on a GPU, and the measuring machine had none ({hardware.cpu}).")
    if found.candidate.runtime != envelope.runtime:
        yield sign(f"Measured in {found.candidate.runtime}; {envelope.runtime} serves.", waivable=False)
    if speed.repeats <= 1 or speed.time_per_token_ms.p50 <= 0 or speed.generated_tokens_per_second <= 0:
        yield sign(
            f"Its speed was not measured: {speed.repeats} repeats, {speed.generated_tokens_per_second:g} tokens a second."
        )
    if speed.context_tokens < envelope.context_tokens or speed.batch < envelope.batch:
        yield sign(
            f"Measured at {speed.context_tokens} tokens and {speed.batch} at once; the plan serves {envelope.context_tokens} and "
            f"{envelope.batch}."
        )
    other = found.reference_performance
    if (speed.context_tokens, speed.batch, speed.threads) != (other.context_tokens, other.batch, other.threads):
        yield sign(
            f"Full precision was measured under another load: {other.context_tokens} tokens, {other.batch} at once, {other.threads} threads "
            f"against {speed.context_tokens}, {speed.batch} and {speed.threads}."
        )
    if speed.threads != found.fingerprint.threads:
        yield sign(
            f"Speed was measured with {speed.threads} threads on a machine set up for {found.fingerprint.threads}."
        )
    limits = ("max_time_to_first_token_ms", "min_tokens_per_second", "max_slowdown", "memory_mib")
    asked = [name for name in limits if getattr(envelope, name) is not None]
    if asked and facts.decision is not None and not facts.decision.envelope:
        yield sign(f"The plan promises {', '.join(asked)}, and the decision checked none of it.")


def unnamed_chip(facts: Facts) -> str | None:
    if facts.plan is not None and facts.plan.envelope.target_chip is None:
        return (
            "The plan does not name the chip that serves: `envelope.target_chip`, then quantplay run PLAN, would tell."
        )
    return None


NOT_MEASURED_ON_TARGET = Classic(
    name="not_measured_on_target", question="Were speed and memory measured where it serves?", owner="ml_engineer",
    signs=not_measured, needs=lambda facts: ("plan", "envelope", "baseline", "evaluation", "decision"), also=unnamed_chip,
)  # fmt: skip
