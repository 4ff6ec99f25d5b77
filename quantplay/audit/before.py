"""Before anything is quantized: a baseline, a place, a gate, and inputs that can't move."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.answers import Answer, line
from quantplay.audit.facts import Facts
from quantplay.envelope.wrong_move import RULE as WRONG_MOVE
from quantplay.gate.target import RULE as TARGET
from quantplay.records import InputKind

KINDS: tuple[InputKind, ...] = ("model", "calibration", "evaluation", "heldout")


def before(facts: Facts) -> Iterator[Answer]:
    ml = facts.owner("ml_engineer")
    plan, baseline, envelope = facts.plan, facts.baseline, facts.envelope
    yield line(
        "before", "Is full precision measured on the frozen evaluation set?", ml,
        None if baseline is None else bool(baseline.source.items),
        *([facts.shows("baseline", f"{len(baseline.source.items)} items in {baseline.precision}, harness {baseline.harness[:12]}")] if baseline else []),
        why="The baseline holds no item.", ask="No baseline is on record; play 1 leaves one.", fix="quantplay run PLAN",
    )  # fmt: skip
    noise = baseline.noise_floor if baseline is not None else None
    yield line(
        "before", "Is it known how much the baseline differs from itself?", ml, None if noise is None else noise.items > 0,
        *([facts.shows("baseline", f"{100 * noise.flip_rate:.2f} % of {noise.items} items flip when {noise.changed}")] if noise else []),
        why="No item was asked twice.", ask="A baseline with a noise floor would tell.", fix="quantplay run PLAN",
    )  # fmt: skip
    missing = [kind for kind in KINDS if kind not in facts.manifests]
    yield line(
        "before", "Are model, calibration and evaluation pinned by digest?", ml, None if missing else True,
        *(facts.pinned(kind, f"{kind} {one.content[:12]}, {len(one.files)} files") for kind, one in facts.manifests.items()),
        ask=f"No manifest is on record of: {', '.join(missing)}.", fix="quantplay run PLAN pins them",
    )  # fmt: skip
    yield frozen(facts)
    yield line(
        "before", "Is the chip named that will serve it?", ml, None if plan is None else plan.envelope.target_chip is not None,
        *([facts.shows("plan", f"target_chip: {plan.envelope.target_chip or 'not named'}")] if plan else []),
        why="The plan does not say where it will run.", ask="No plan is on record.", fix="envelope.target_chip in the plan",
        waived=facts.waiver(TARGET),
    )  # fmt: skip
    yield line(
        "before", "Does the first candidate fit the envelope?", ml, None if envelope is None else envelope.chosen.fits,
        *([facts.shows("envelope", f"{envelope.chosen.type}: {envelope.chosen.total_bytes / 2**20:,.1f} MiB in use")] if envelope else []),
        why=envelope.chosen.reason if envelope else "", ask="No choice of play 2 is on record.", fix="quantplay plan PLAN",
    )  # fmt: skip
    looked = envelope is not None and envelope.machine is not None
    yield line(
        "before", "Is quantizing the right move here?", ml,
        None if envelope is None or not (looked or envelope.wrong_moves) else not envelope.wrong_moves,
        *([facts.shows("envelope", envelope.wrong_moves[0] if envelope.wrong_moves else "nothing speaks against it")] if envelope else []),
        why=envelope.wrong_moves[0] if envelope and envelope.wrong_moves else "", ask="Play 2 left no prediction that would tell.",
        fix="quantplay plan PLAN says what speaks against it", waived=facts.waiver(WRONG_MOVE),
    )  # fmt: skip
    yield standards(facts)
    yield line(
        "before", "Is it said in words what is given up for what?", facts.owner("product_owner"),
        None if plan is None else bool(plan.trade_off.strip()),
        *([facts.shows("plan", plan.trade_off.strip() or "trade_off is empty")] if plan else []),
        why="The plan's trade_off is empty.", ask="No plan is on record.", fix="trade_off in the plan",
    )  # fmt: skip


def standards(facts: Facts) -> Answer:
    """Whether the plan is as the organisation's standards say, by what the decision recorded."""
    check = facts.decision.standards if facts.decision is not None else None
    open_ones = [one for one in check.departures if one.reason is None or not one.acceptable] if check else []
    accepted = [one for one in check.departures if one not in open_ones] if check else []
    first = next(iter([*open_ones, *accepted]), None)
    return line(
        "before", "Is it as the organisation's standards say?", facts.owner("ml_engineer"), None if check is None else first is None,
        *([facts.shows("decision", f"{check.title}, version {check.version}: {len(check.departures)} departures")] if check else []),
        why=f"{first.what}: {first.found}, and the standards say {first.standard}." if first else "", ask="No standards applied to this run.",
        fix=first.fix if first else "QUANTPLAY_STANDARDS names the file; quantplay check PLAN compares",
        waived="; ".join(one.reason or "" for one in accepted) if accepted and not open_ones else None,
    )  # fmt: skip


def frozen(facts: Facts) -> Answer:
    """The gate that decided is the plan's own, and no earlier one was stricter."""
    plan, decision = facts.plan, facts.decision
    known = plan is not None and decision is not None
    same = plan is not None and decision is not None and decision.gate == plan.gate_digest()
    changes = decision.gate_changes if decision is not None else ()
    first = changes[0] if changes else None
    why = f"{first.field}: {first.before} before, {first.now} now" if first else "Another gate than the plan's decided."
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    return line(
        "before", "Was the gate frozen before any result?", facts.owner("product_owner"), (same and not changes) if known else None,
        *([facts.shows("decision", f"gate {decision.gate[:12]}, {len(changes)} limits laxer than before")] if decision else []),
        why=why + more, ask="It takes the plan and a decision to tell.",
        fix="quantplay show RUN lists what was loosened; ask for a fresh evaluation set",
    )  # fmt: skip
