"""Before shipping: the same questions, a verdict by the frozen gate, people who signed, and a package with a way back."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.answers import Answer, Evidence, line
from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.measured import measured_on_target
from quantplay.audit.mistakes.rollback import kept
from quantplay.gate.target import RULE as TARGET
from quantplay.gate.target import check_target, chip_of, names_a_chip
from quantplay.signoff.standing import REQUIRED

NOT_DUE = "profile internal: low stakes, nobody has to sign"


def shipping(facts: Facts) -> Iterator[Answer]:
    ml, owner = facts.owner("ml_engineer"), facts.owner("product_owner")
    baseline, found, decision, artifact = facts.baseline, facts.evaluation, facts.decision, facts.artifact
    harness = (
        [baseline.harness, baseline.source.harness, found.harness, found.candidate.harness]
        if baseline and found
        else []
    )
    yield line(
        "before shipping", "Did the identical harness ask both?", ml, len(set(harness)) == 1 if harness else None,
        *([facts.shows("evaluation", f"harness {found.harness[:12]}, {len(found.candidate.items)} items")] if found else []),
        why="Baseline and candidate were asked by different harnesses.", ask="It takes baseline and evaluation to tell.",
        fix="quantplay run PLAN measures both anew",
    )  # fmt: skip
    yield line(
        "before shipping", "Is the evaluated file the one that was made?", ml,
        None if found is None or artifact is None else artifact.sha256 == found.artifact == found.candidate.model,
        *([facts.shows("evaluation", f"of {found.artifact[:12]}")] if found else []),
        why="Another file was evaluated.", ask="It takes artifact and evaluation to tell.", fix="quantplay run PLAN",
    )  # fmt: skip
    yield line(
        "before shipping", "Is the decision about this very evaluation and baseline?", owner,
        None if decision is None or found is None else (decision.evaluation, decision.baseline) == (found.digest(), found.baseline),
        *([facts.shows("decision", f"of evaluation {decision.evaluation[:12]}, baseline {decision.baseline[:12]}")] if decision else []),
        why="The gate judged other numbers than those on record.", ask="It takes a decision and an evaluation to tell.", fix="quantplay run PLAN",
    )  # fmt: skip
    rows = [row for row in decision.slices if row.metric == "score"] if decision else []
    worst = max(rows, key=lambda row: row.drop, default=None)
    yield line(
        "before shipping", "Did the frozen gate pass?", owner,
        None if decision is None else decision.verdict == "pass" and decision.envelope_met,
        *([facts.shows("decision", f"{decision.verdict}, {len(rows)} slices" + (f"; worst {worst.slice} {worst.drop:+.1f} of {worst.max_drop:g} points" if worst else ""))] if decision else []),
        why=decision.reasons[0] if decision and decision.reasons else "", ask="No decision is on record.", fix="quantplay show RUN",
    )  # fmt: skip
    hard = [row for row in decision.slices if row.slice == "hardest"] if decision else []
    yield line(
        "before shipping", "Is there a verdict on the hardest items?", owner, None if decision is None else bool(hard),
        *(facts.shows("decision", f"hardest, {row.metric}: {row.verdict}, {row.items} items") for row in hard),
        why="The decision has no row of the hardest items.", ask="No decision is on record.", fix="quantplay run PLAN",
    )  # fmt: skip
    missed = [one for one in decision.envelope if not one.met] if decision else []
    yield line(
        "before shipping", "Is every promise of the envelope met, its win included?", ml,
        None if decision is None or not decision.envelope else not missed,
        *(facts.shows("decision", f"{one.name}: {one.measured:,.4g} of {one.limit:,.4g} {one.unit}") for one in (missed or (decision.envelope if decision else ()))),
        why="Missed: " + ", ".join(one.name for one in missed), ask="No decision with envelope checks is on record.", fix="quantplay run PLAN",
    )  # fmt: skip
    yield target(facts)
    yield line(
        "before shipping", "Is no alarm raised?", ml, None if decision is None else not decision.alarms,
        *([facts.shows("decision", decision.alarms[0].text if decision.alarms else "no alarm")] if decision else []),
        why=decision.alarms[0].text if decision and decision.alarms else "", ask="No decision is on record.",
        fix="read the answers that changed: quantplay show RUN --answers 20",
    )  # fmt: skip
    yield from signatures(facts)
    package = facts.package
    yield line(
        "before shipping", "Is it locked in a hand-off package?", owner, None if package is None else facts.locked,
        *([facts.shows("package", f"manifest {package.manifest[:12]}, {package.size_bytes:,} bytes")] if package else []),
        why="There is a package, and no run ended locked with it.", ask="No package is on record.", fix="quantplay run PLAN",
    )  # fmt: skip
    pinned = kept(facts) if facts.locked else None
    yield line(
        "before shipping", "Is full precision archived as the way back?", facts.owner("on_call"), pinned,
        *(facts.pinned("model", f"{sha[:12]} is there and pinned: {reasons[0]}") for sha, reasons in list(facts.pins.items())[:1]),
        *([facts.shows("package", "full precision is not whole in the archive")] if pinned is False and package else []),
        why="A part of full precision is not pinned, or is gone from the artifact store.", ask="A locked package would tell, and an artifact store that answers.",
        fix="quantplay run PLAN archives it with the lock",
    )  # fmt: skip


def target(facts: Facts) -> Answer:
    plan, found = facts.plan, facts.evaluation
    known = plan is not None and found is not None and names_a_chip(plan.envelope.target_chip)
    again = next((one for one in reversed(facts.revalidations) if measured_on_target(facts, one)), None)
    check = check_target(plan.envelope, chip_of(plan.envelope, found.fingerprint.hardware)) if plan and found else None
    return line(
        "before shipping", "Is speed measured on the chip that serves?", facts.owner("ml_engineer"),
        check.same or again is not None if known and check else None,
        *([facts.shows("evaluation", f"measured on {check.measured}, {found.performance.repeats} repeats")] if check and found else []),
        *([Evidence(record="revalidation", key=again.digest(), said=f"measured again there on {again.at[:10]}")] if again else []),
        why=f"{check.target} serves." if check else "", ask="It takes an evaluation and a plan that names the chip to tell.",
        fix="quantplay run PLAN on that chip", waived=facts.waiver(TARGET),
    )  # fmt: skip


def signatures(facts: Facts) -> Iterator[Answer]:
    """Roles and signatures as recorded; whether they hold against an owners file `quantplay verify` says."""
    for stage in ("gate", "lock"):
        for role in REQUIRED[stage]:
            latest = next((one for one in reversed(facts.signoffs) if (one.stage, one.role) == (stage, role)), None)
            what = "the decision" if stage == "gate" else "the package"
            question = f"Did the {role.replace('_', ' ')} sign {what}?"
            if latest is None and facts.profile in ("internal", "explore") and facts.plan is not None:
                yield Answer(
                    section="before shipping", question=question, answer="waived", owner=facts.owner(role), why=NOT_DUE, reason=NOT_DUE,
                    evidence=(facts.shows("plan", f"profile {facts.profile}"),),
                )  # fmt: skip
                continue
            about = latest is None or facts.decision is None or latest.decision == facts.decision.digest()
            yield line(
                "before shipping", question, facts.owner(role),
                (latest.verdict == "approve" and about) if latest else (False if facts.locked else None),
                *([facts.shows("signoffs", f"{latest.person}, {latest.recorded_at}: {latest.verdict}")] if latest else []),
                why="No such signature is on record." if latest is None else f"It is about another decision, or says {latest.verdict}.",
                ask="No such signature is on record yet.", fix=f"quantplay sign RUN --role {role}",
            )  # fmt: skip
