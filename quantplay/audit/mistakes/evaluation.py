"""No task evaluation: what was shipped was never put to the team's own tasks, or not so that a loss could have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.budget import limitless, parrot
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.audit.names import BENCHMARKS, named_in

ZERO_FLIPS = 300.0
"""Points times items: with no answer changed, the 95 % upper bound of a drop is about this over the items (rule of three)."""
DEAD = 0.05  # share of right answers of full precision below which nothing can be lost

NO_TASKS = (
    "perplexity", "ppl", "divergence", "kl", "kld", "bits per byte", "bpb", "bits per character", "cross entropy", "log likelihood",
    "loglikelihood", "nll", "arc",
)  # fmt: skip
"""Names of slices that are no task of anybody's, or a public one under a name too common to look for elsewhere."""

RUN = "quantplay run PLAN measures it on the plan's own tasks"


def signs(facts: Facts) -> Iterator[Sign]:
    recorded = facts.package is not None and facts.package.made_of is not None
    if recorded or (facts.locked and facts.run is not None and facts.run.plays):
        for name in ("evaluation", "decision"):
            if getattr(facts, name) is None:
                yield Sign(
                    why=f"The package is locked, and the database holds no {name} of what it ships.", fix=RUN,
                    evidence=(facts.shows("package", f"names no {name} that is there"),),
                )  # fmt: skip
    yield from what_was_measured(facts)
    yield from what_it_was_asked(facts)
    yield from what_was_decided(facts)
    for release in facts.releases:
        served = release.policy.quantized.artifact
        if release.policy.package is None:
            yield Sign(
                why=f"{release.endpoint} serves the file {served[:12]} without any package, so nothing on record says that it was evaluated.",
                evidence=(facts.shows("release", f"{release.endpoint}, revision {release.revision}: no package"),),
                fix=f"quantplay rollback {release.endpoint}; release a locked package",
            )  # fmt: skip
        elif facts.artifact is not None and served != facts.artifact.sha256:
            yield Sign(
                why=f"{release.endpoint} serves the file {served[:12]}, and {facts.artifact.sha256[:12]} is what was evaluated and locked.",
                evidence=(
                    facts.shows("release", f"{release.endpoint}, revision {release.revision}: {served[:12]}"),
                    facts.shows("artifact", facts.artifact.sha256[:12]),
                ),
                fix=f"quantplay rollback {release.endpoint}; release the package's own file",
            )  # fmt: skip


def what_was_measured(facts: Facts) -> Iterator[Sign]:
    """The very file, on the gate split, by the baseline's harness."""
    found = facts.evaluation
    if found is None:
        return
    arm = found.candidate

    def sign(why: str) -> Sign:
        return Sign(
            why=why, evidence=(facts.shows("evaluation", f"{len(arm.items)} items, split {arm.split}"),), fix=RUN
        )

    if not arm.items:
        yield sign("The evaluation holds no answer to any task: perplexity and divergence are alarms, never a verdict.")
        return
    arms = [arm, *([facts.baseline.source] if facts.baseline is not None else [])]
    if not any(item.response.strip() for one in arms for item in one.items):
        yield sign(
            f"None of the {len(arm.items)} items was answered: a text's likelihood is an alarm, never a verdict."
        )
    if arm.split != "gate":
        yield sign(
            f"The evaluation is of the {arm.split} split, which may be looked at at will; the gate split was never asked."
        )
    if facts.artifact is not None and facts.artifact.sha256 not in (found.artifact, arm.model):
        yield sign(
            f"The file {found.artifact[:12]} was evaluated, and {facts.artifact.sha256[:12]} is what was made to ship."
        )
    elif facts.artifact is not None and found.artifact != arm.model:
        yield sign(
            f"The evaluation is filed under {found.artifact[:12]}, and the answers are those of {arm.model[:12]}."
        )
    if facts.baseline is None:
        return
    if len({facts.baseline.harness, found.harness, arm.harness, facts.baseline.source.harness}) > 1:
        yield sign(
            f"Another harness asked the candidate ({found.harness[:12]}) than the baseline ({facts.baseline.harness[:12]}), so no "
            "difference between them is a measurement."
        )
    asked = facts.manifests.get("evaluation")
    if asked is not None and facts.baseline.evaluation != asked.content:
        yield sign(
            f"The baseline was asked the set {facts.baseline.evaluation[:12]}, and {asked.content[:12]} is the pinned one."
        )
    shared = {item.id for item in facts.baseline.source.items} & {item.id for item in arm.items}
    if len(shared) < len(arm.items):
        yield sign(f"Only {len(shared)} of the candidate's {len(arm.items)} items were put to full precision as well.")
    elif len(arm.items) < len(facts.baseline.source.items):
        yield sign(
            f"Only {len(arm.items)} of the baseline's {len(facts.baseline.source.items)} items were put to the candidate."
        )
    means = facts.baseline.source.scores()
    if means and max(means.values()) < DEAD:
        best = 100 * max(means.values())
        yield sign(
            f"Full precision scores {best:.1f} points at best on these tasks, so there is nothing a quantized model could lose."
        )
    if facts.plan is not None and (told := parrot(facts.plan, facts.baseline)) is not None:
        yield sign(
            f'A model that says nothing but "{told[0].strip()[:40]}" stays within every tolerance: it loses {told[1]:.1f} points at most.'
        )


def what_it_was_asked(facts: Facts) -> Iterator[Sign]:
    """The team's own tasks, not a public benchmark."""
    if facts.plan is None:
        return
    asked, files = facts.plan.evaluation, facts.manifests.get("evaluation")
    whole = [asked.gate, *((files.source,) if files is not None else ())]
    known = named_in(whole, BENCHMARKS)
    slices = [name for name in facts.plan.gate.slices if named_in([name], (*BENCHMARKS, *NO_TASKS))]
    if known is None and slices and len(slices) == len(facts.plan.gate.slices):
        known = ", ".join(slices)
    if known is not None:
        yield Sign(
            why=f"All that decides is public: {known}. What this team asks the model was never asked.",
            evidence=(facts.shows("plan", f"evaluation.gate {asked.gate}, slices {', '.join(facts.plan.gate.slices)}"),),
            fix="write items of your own (docs/evaluation-sets.md), then quantplay run PLAN",
            waived=facts.waiver("evaluation."),
        )  # fmt: skip


def what_was_decided(facts: Facts) -> Iterator[Sign]:
    """By a gate that could have said no, over enough items, about these very numbers."""
    plan, decision = facts.plan, facts.decision
    if plan is not None and (loose := limitless(plan)):
        worst = ", ".join(f"{name} may lose {drop:g}" for name, drop in sorted(loose.items()))
        yield Sign(
            why=f"The gate has no tolerance to speak of: {worst} points.", evidence=(facts.shows("plan", worst),),
            fix="set max_drop to what the product owner would accept; quantplay check PLAN", waived=facts.waiver("gate.", "standards.tolerance"),
        )  # fmt: skip
    if decision is None:
        return
    rows = {row.slice: row for row in decision.slices if row.metric == "score"}

    def sign(why: str, fix: str = RUN) -> Sign:
        return Sign(why=why, evidence=(facts.shows("decision", f"{decision.verdict}, {len(rows)} slices"),), fix=fix)

    if not rows:
        yield sign("The gate decided without a score of any task.")
    elif plan is not None and (ungated := sorted({*plan.gate.slices} - rows.keys())):
        yield sign(f"The gate decided without the slices {', '.join(ungated)}.")
    few = sorted(
        (row for row in rows.values() if row.max_drop * row.items < ZERO_FLIPS), key=lambda row: (row.items, row.slice)
    )
    if few:
        told = ", ".join(f"{row.slice} {row.items}" for row in few)
        yield sign(
            f"Too few items to tell: {told}. Even with no answer changed, {few[0].items} items leave a drop of "
            f"{min(100, ZERO_FLIPS / max(1, few[0].items)):.0f} points possible, and {few[0].max_drop:g} are allowed.",
            "add items (quantplay check PLAN says how many), then run it again",
        )
    elif decision.verdict == "inconclusive" and facts.shipped:
        yield sign("It was shipped although the gate found too little data to tell.", "add items, then run it again")
    if facts.evaluation is not None and facts.evaluation.candidate.items:
        counted = Counter(item.slice for item in facts.evaluation.candidate.items)
        empty = sorted(name for name in rows if name != "hardest" and not counted[name])
        if empty:
            yield sign(f"The evaluation holds no item of {', '.join(empty)}, which the gate speaks of.")


NO_TASK_EVALUATION = Classic(
    name="no_task_evaluation", question="Is what ships evaluated on the team's own tasks?", owner="ml_engineer", signs=signs,
    needs=lambda facts: ("plan", "artifact", "baseline", "evaluation", "decision") + (("releases",) if facts.kind == "endpoint" else ()),
    rules=("evaluation.",),
)  # fmt: skip
