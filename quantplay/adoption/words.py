"""What adoption is, in sentences that carry their base and their period; for the terminal and for pages alike."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.adoption.coverage import ModelRow
from quantplay.adoption.facts import KINDS
from quantplay.adoption.report import Adoption
from quantplay.adoption.savings import DeviceHours, Saving
from quantplay.adoption.timing import Timing
from quantplay.handoff.words import percent, size
from quantplay.plays.regressions import Seen

MOST_OF_IT = 0.8
LEAST_SHOWN = 0.0005  # with one digit
MOST_PLACES = 3  # names a model is served under
BEGIN = (
    "`quantplay pilot` takes a small real model through every play, in some minutes",
    "`quantplay init my-model` writes a plan for one of yours; `quantplay run` takes it to a locked package",
    "`quantplay release PACKAGE` puts it behind the gateway, which counts what it serves",
    "`quantplay adoption --volume FILE.csv` ranks what is served today, from whatever counts it",
)
"""How one begins where nothing was run and nothing is served."""


def part(share: float) -> str:
    """In percent; what is not quite all is never 100 %, and what is not nothing never 0 %."""
    if 0 < share <= LEAST_SHOWN:
        return "< 0.1 %"
    return "> 99.9 %" if 1 - LEAST_SHOWN <= share < 1 else percent(share)


def period(found: Adoption) -> str:
    """`2026-10-24 to 2026-11-22 07:10 UTC, our gateways' counters`."""
    until = f" to {found.until[:16].replace('T', ' ')} UTC" if found.until else " on"
    return f"{found.since}{until}, {found.source_words}"


def headline(found: Adoption) -> str:
    """Coverage in a few words; its period stands beside it."""
    told = found.coverage
    if told.covered is None:
        return "Coverage is not known: there is no request on record"
    return f"Validated quantized models served {part(told.covered)} of {told.requests:,} requests"


def coverage_sentences(found: Adoption) -> Iterator[str]:
    """The headline with its period first."""
    yield f"{headline(found)} ({period(found)})."
    if found.coverage.covered is not None:
        yield from share_sentences(found)
        yield top_sentence(found)
        yield from before_sentence(found)


def share_sentences(found: Adoption) -> Iterator[str]:
    """What is not covered, what of it is right, and how much of it is known; there has to be volume."""
    told = found.coverage
    rest = [
        f"{part(count / told.requests)} {KINDS[kind]}"
        for kind, count in told.by.items()
        if count and kind != "validated"
    ]
    if rest:
        yield f"The rest: {'; '.join(rest)}."
    if told.declined and told.settled is not None:
        yield (
            f"{told.declined:,} requests ({part(told.declined / told.requests)}) went to models for which quantizing was declined with a "
            f"reason, which is right too: with them {part(told.settled)} is settled."
        )
    if told.tokens_covered is not None:
        base = part(told.requests_with_tokens / told.requests)
        yield f"By tokens: {part(told.tokens_covered)} of {told.tokens:,}, which are known for {base} of the requests."
    else:
        yield "By tokens: not known."
    if told.unattributed:
        yield (
            f"Not attributed: {told.unattributed:,} requests ({part(told.unattributed / told.requests)}) belong to no model on record "
            "here; they count as not covered."
        )


def top_sentence(found: Adoption) -> str:
    """How far from the top down."""
    top = next((one.rank for one in found.models if one.up_to_here >= MOST_OF_IT), len(found.models))
    largest = found.models[:top]
    validated = sum(one.state == "validated" for one in largest)
    declined = sum(one.state == "declined" for one in largest)
    names = "The largest model has" if top == 1 else f"The largest {top} of {len(found.models)} models have"
    return (
        f"{names} {part(largest[-1].up_to_here)} of the volume; {validated} validated, {declined} declined with a reason, "
        f"{top - validated - declined} to go."
    )  # fmt: skip


def before_sentence(found: Adoption) -> Iterator[str]:
    earlier = [one for one in found.before if one.covered is not None and one.day < found.at[:10]]
    if earlier:
        last = earlier[-1]
        yield f"On {last.day} it was {part(last.covered or 0.0)} of {last.requests:,} requests."


def hours_words(hours: float) -> str:
    """Minutes, hours or days, whichever people say."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def timing_sentences(told: Timing) -> Iterator[str]:
    if told.median_hours is None or told.slowest_hours is None:
        yield "From the start of a run to its lock: not known, nothing is locked yet."
        return
    yield (
        f"From the start of a run to its lock: {hours_words(told.median_hours)} at the median, {hours_words(told.slowest_hours)} at most, "
        f"over {told.locked} locked package{'s' if told.locked > 1 else ''}; waiting for people and devices is in it."
    )
    yield told.trend


SEEN: dict[Seen, str] = {
    "gate": "caught at the gate",
    "revalidation": "caught by a re-validation before anybody was served",
    "production": "escaped to production",
}


def wrong_sentences(found: Adoption) -> Iterator[str]:
    """What has nobody's eye on it is in neither number."""
    told = found.went_wrong
    counts = "; ".join(
        f"{told.seen_first[seen]} {name} ({told.of_period[seen]} since {found.since})" for seen, name in SEEN.items()
    )
    yield f"Regressions: {counts}."
    yield f"Incidents: {told.incidents_open} open, {told.incidents_closed} closed."


def savings_sentences(found: Adoption) -> Iterator[str]:
    told = found.savings
    if told.since is None:
        yield "Savings: not known, no volume is on record."
        return
    if not told.packages:
        yield f"Savings since {told.since}: none can be told, no validated package served anything."
    for one in told.money:
        cost = f", before the {one.cost:,.2f} that the plans say quantizing cost" if one.cost else ""
        yield f"Saved since {told.since}: {one.saved:,.2f} {one.currency} of serving{cost}."
    if told.money:
        yield (
            "Assumed: what the plans say of price, saving and tokens a request holds for everything that was served. "
            "No bill was looked at."
        )  # fmt: skip
    if told.without_money:
        yield f"{told.without_money} of {len(told.packages)} packages name no saving in money; what they free in memory is listed."
    if told.left_out:
        yield f"No saving is claimed for {told.left_out:,} requests of quantized models that are not validated, or not any more."


def saving_words(one: Saving) -> str:
    """`1,234.50 USD`, or the memory, or that neither is known."""
    if one.saved is not None:
        return f"{one.saved:,.2f} {one.currency}"
    return f"{size(one.freed_bytes)} freed a server" if one.freed_bytes and one.freed_bytes > 0 else "not known"


def device_sentence(found: Adoption) -> str:
    told, lately = found.device_hours, found.device_hours_of_period
    if not told.jobs:
        return "Device-hours: no job is on record."
    by_play = ", ".join(f"{play} {hours:.2f}" for play, hours in told.by_play.items())
    lost = f"; not counted: {told.not_counted} that still run or were lost" if told.not_counted else ""
    return (
        f"Device-hours: {hours_of(told)} in all{f' ({by_play})' if by_play else ''}, {hours_of(lately)} since {found.since}{lost}. "
        "Failed jobs and re-validations are in it."
    )


def hours_of(told: DeviceHours) -> str:
    return f"{told.hours:.2f}"


def named(one: ModelRow) -> str:
    """`support-desk`, or `support-desk (chat, search)` where it is served under other names."""
    if one.places == (one.name,):
        return one.name
    more = f" and {len(one.places) - MOST_PLACES} more" if len(one.places) > MOST_PLACES else ""
    return f"{one.name} ({', '.join(one.places[:MOST_PLACES])}{more})"
