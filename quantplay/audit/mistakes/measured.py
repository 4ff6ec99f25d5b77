"""Not measured on target: the numbers are of another chip, another runtime or a lighter load than what serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.gate.target import HERE, RULE, check_target, chip_of, names_a_chip, plain
from quantplay.records import Revalidation


def measured_on_target(facts: Facts, again: Revalidation) -> bool:
    """Whether the locked bytes were measured again on the very chip that the plan declares by name, and held."""
    if facts.plan is None or again.status != "confirmed" or again.measured is None:
        return False
    envelope = facts.plan.envelope
    wanted, there = envelope.target_chip, chip_of(envelope, again.stack.hardware)
    return names_a_chip(wanted) and plain(wanted or HERE) != HERE and check_target(envelope, there).same


def elsewhere(facts: Facts, measured: str, sign: Callable[[str], Sign]) -> Iterator[Sign]:
    """Numbers of another chip than the declared one, or than the baseline's."""
    assert facts.plan is not None
    envelope, decision = facts.plan.envelope, facts.decision
    check = check_target(envelope, measured)
    if envelope.target_chip is not None and not check.same:
        yield sign(f"Measured on {measured}; {envelope.target_chip} serves.")
    elif facts.envelope is not None and plain(envelope.target_chip or HERE) == HERE:
        seen = chip_of(envelope, facts.envelope.fingerprint.hardware)
        if seen != measured:
            yield sign(f"Measured on {measured}, while play 2 chose for {seen}.")
    if facts.baseline is not None and (before := chip_of(envelope, facts.baseline.fingerprint.hardware)) != measured:
        yield sign(f"The candidate was measured on {measured}, and the baseline on {before}.")
    if decision is not None and decision.target is not None and check.same and not decision.target.same:
        yield sign(
            f"The decision says that it was measured on {decision.target.measured}, another chip than the one that serves."
        )


def moved_since(facts: Facts, measured: str) -> Iterator[Sign]:
    """The stack is another chip by now, and nothing was ever measured on it."""
    since = facts.standing
    if facts.plan is None or since is None:
        return
    envelope = facts.plan.envelope
    known = {measured} | {
        chip_of(envelope, one.stack.hardware) for one in facts.revalidations if one.measured is not None
    }
    if since.measured is None and (now := chip_of(envelope, since.stack.hardware)) not in known:
        yield Sign(
            why=f"Measured on {measured}; by {since.at[:10]} the stack was moved to {now}, and nothing has been measured there.",
            evidence=(facts.shows("standing", f"{since.status} on {now}, nothing measured"),), fix="quantplay revalidate KEY",
        )  # fmt: skip


def not_measured(facts: Facts) -> Iterator[Sign]:
    plan, found = facts.plan, facts.evaluation
    if plan is None or found is None:
        return
    envelope, speed = plan.envelope, found.performance
    waived, fix = facts.waiver(RULE), "quantplay run PLAN on the chip that serves"
    hardware = found.fingerprint.hardware
    measured = chip_of(envelope, hardware)
    shown = facts.shows("evaluation", f"measured on {measured}")

    def sign(why: str, *, waivable: bool = True) -> Sign:
        return Sign(why=why, evidence=(shown,), fix=fix, waived=waived if waivable else None)

    if not names_a_chip(envelope.target_chip) and plan.profile == "production":
        named = (
            "no chip"
            if envelope.target_chip is None
            else f"`{envelope.target_chip}`, which chips unlike each other are,"
        )
        yield sign(f"The plan names {named} as the one that serves, so nothing shows that {measured} is it.")
    if not any(measured_on_target(facts, one) for one in facts.revalidations):
        yield from elsewhere(facts, measured, sign)
    if facts.baseline is not None:
        then = facts.baseline.fingerprint.software.runtime
        if then != found.fingerprint.software.runtime:
            yield sign(
                f"The runtime was {found.fingerprint.software.runtime} for the candidate and {then} for the baseline.",
                waivable=False,
            )
    yield from moved_since(facts, measured)
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
    if facts.plan is not None and not names_a_chip(facts.plan.envelope.target_chip):
        return (
            "The plan does not name the chip that serves: `envelope.target_chip`, then quantplay run PLAN, would tell."
        )
    return None


NOT_MEASURED_ON_TARGET = Classic(
    name="not_measured_on_target", question="Were speed and memory measured where it serves?", owner="ml_engineer",
    signs=not_measured, needs=lambda facts: ("plan", "envelope", "baseline", "evaluation", "decision"), also=unnamed_chip,
)  # fmt: skip
