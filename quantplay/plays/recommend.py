"""What would be viable instead, where a run ends close or broken: a larger type, a larger mix, training. Pure but for the solver.

Estimates, and said to be: nothing here was measured beyond what the run's own plays left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from quantplay.envelope.choose import missed_budgets, uses_importance
from quantplay.envelope.memory import estimate
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError
from quantplay.formats import types_of
from quantplay.gate.ahead import SHORT, cannot_mix, cannot_train
from quantplay.plan import Plan
from quantplay.plays.business_case import measured
from quantplay.records import Artifact, Decision, Evaluation, MixChoice, Recommendation, Training

MIB = 2**20
FULL_BITS = 16
CASE_LINES = """\
business_case:
  requests_per_day: ...
  tokens_per_request: ...
  serving_cost_per_million_tokens: ...
  training_cost: ...
  months: ..."""
TRAINING_LINES = """\
training:
  file: training.jsonl"""


QUANTIZE_HERE = Recommendation(
    kind="larger type", what="Quantize the model here: take `imported` out of the plan.",
    why="What was made elsewhere can't be made better: a mix or training starts from the full-precision model and a calibration set.",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TypeSize:
    """A serving type for this model, by estimate."""

    type: str
    file_bytes: int
    total_bytes: int  # while it serves
    misses: tuple[str, ...] = ()  # a clause for every budget of the envelope it misses


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a run left behind."""

    plan: Plan
    outcome: str
    decision: Decision
    evaluation: Evaluation
    artifact: Artifact  # the last that was short
    tried: frozenset[str]  # serving types that went through the gate
    sizes: tuple[TypeSize, ...]  # of every type the runtime has
    budget_bytes: int  # what a mix may be
    mix: MixChoice | None = None
    training: Training | None = None
    solve: Callable[[int], MixChoice] | None = None  # the mix for another budget; measures nothing


def sizes_of(plan: Plan, model_folder: Path) -> tuple[TypeSize, ...]:
    """Every type the runtime has below 16 bits, for this model under the plan's load."""
    shape, envelope, found = read_shape(model_folder), plan.envelope, []
    for name, kind in types_of(envelope.runtime).items():
        if kind.nominal_bits < FULL_BITS:
            size = estimate(
                shape,
                name,
                context_tokens=envelope.context_tokens,
                batch=envelope.batch,
                importance=uses_importance(kind),
                runtime=envelope.runtime,
                device=envelope.device,
                cache_type=envelope.cache_type,
            )
            found.append(
                TypeSize(
                    type=name, file_bytes=size.file_bytes, total_bytes=size.total_bytes,
                    misses=missed_budgets(envelope, size),
                )
            )  # fmt: skip
    return tuple(found)


def recommendations(found: Situation) -> tuple[Recommendation, ...]:
    """What is left to try, the least costly first; empty where the run did not stop short."""
    if found.decision.verdict not in SHORT or found.outcome not in (*SHORT, "rejected"):
        return ()
    if found.plan.imported is not None:
        return (QUANTIZE_HERE,)
    return (*mixing(found), *larger_type(found), *training(found))


def larger_type(found: Situation) -> Iterator[Recommendation]:
    """The next larger type that would fit; where none does, what the next one needs."""
    larger = sorted(
        (one for one in found.sizes if one.file_bytes > found.artifact.size_bytes and one.type not in found.tried),
        key=lambda one: (one.file_bytes, one.type),
    )
    fitting = next((one for one in larger if not one.misses), None)
    if fitting is not None:
        more = fitting.file_bytes - found.artifact.size_bytes
        yield Recommendation(
            kind="larger type", what=f"Try {fitting.type}, the next larger type that fits the envelope.",
            why=f"About {mib(fitting.file_bytes)}, {mib(more)} more than the file that was short.",
            plan_lines=f"envelope:\n  types: [{fitting.type}]",
        )  # fmt: skip
    elif larger:
        first = larger[0]
        yield Recommendation(
            kind="larger type", what=f"Widen the envelope: no larger type fits it, and the next one is {first.type}.",
            why=f"{first.type}: {'; '.join(first.misses)}.",
            plan_lines="\n".join(wider(found.plan, first)),
        )  # fmt: skip


def wider(plan: Plan, kind: TypeSize) -> Iterator[str]:
    """Plan lines of an envelope that this type fits."""
    yield f"envelope:\n  types: [{kind.type}]"
    for limit, name, needed in (
        (plan.envelope.max_artifact_mib, "max_artifact_mib", kind.file_bytes),
        (plan.envelope.memory_mib, "memory_mib", kind.total_bytes),
    ):
        if limit is not None and limit * MIB < needed:
            yield f"  {name}: {1.02 * needed / MIB:.1f}"


def mixing(found: Situation) -> Iterator[Recommendation]:
    """Mixed precision where it was not tried after a close candidate; a larger one where it was, and was short."""
    decision = found.decision
    if found.mix is None and (why := cannot_mix(found.artifact.type)) is not None:
        if decision.verdict == "close":
            yield Recommendation(kind="mixed precision", what="Nothing can be mixed here.", why=why)
        return
    if found.mix is None:
        if decision.verdict == "close" and found.training is None:
            yield Recommendation(
                kind="mixed precision", what="Leave room for mixed precision: a second look at the gate split.",
                why=f"It would spend up to {mib(found.budget_bytes)}, and give the bytes to the parts that suffer most. Each of "
                f"{decision.attempts + 1} looks is tested at 5 %/{decision.attempts + 1}, so `quantplay check` may ask for more items.",
                plan_lines=f"gate:\n  attempts: {decision.attempts + 1}",
            )  # fmt: skip
        return
    if found.training is not None:
        return
    share = share_needed(decision)
    have = found.mix.mean_kl_nats if found.mix.mean_kl_nats is not None else found.mix.predicted_nats
    larger = larger_mix(found, have * share) if share is not None else None
    if share is None:
        yield Recommendation(
            kind="mixed precision", what="Add items before spending more bytes.",
            why="Of the tolerance nothing is left beside the uncertainty of these items, so a lossless mix would be short too.",
        )  # fmt: skip
    elif larger is not None:
        yield Recommendation(
            kind="mixed precision", what=f"Allow mixed precision a file of about {mib(larger.size_bytes)}.",
            why=f"The mix of {mib(found.mix.size_bytes)} diverges by {have:.3g} nats. Where the drop falls with the divergence, {100 * share:.0f} % "
            f"of that are enough, which by the scan's figures takes {mib(larger.size_bytes)}.",
            plan_lines="\n".join(size_lines(found.plan, larger.size_bytes)),
        )  # fmt: skip


def share_needed(decision: Decision) -> float | None:
    """Share of today's drop at which the worst gated quantity would pass; None where its uncertainty alone is too large.

    The upper bound has to come down to the tolerance, and the distance between drop and bound stays: it comes from the items.
    """
    shares = []
    for one in decision.slices:
        if one.verdict != "pass" and one.drop > 0:
            room = one.max_drop - (one.upper - one.drop)
            if room <= 0:
                return None
            shares.append(min(1.0, room / one.drop))
    return min(shares, default=1.0)


def larger_mix(found: Situation, wanted_nats: float) -> MixChoice | None:
    """The smallest mix that is predicted to diverge no more than `wanted_nats`; None where even the largest does."""
    mix, solve = found.mix, found.solve
    if solve is None or mix is None:
        return None
    low = mix.size_bytes
    high = mix.other_bytes + sum(max(option.stored_bytes for option in group.types) for group in mix.groups)
    try:
        return smallest(solve, low, high, wanted_nats, 0.01 * mix.size_bytes)
    except (LookupError, InputError):  # the solver's time was up: no advice is better than a run that ends in an error
        return None


def smallest(
    solve: Callable[[int], MixChoice], low: int, high: int, wanted_nats: float, close: float
) -> MixChoice | None:
    """By halving between two sizes, until they are `close`."""
    best = solve(high)
    if best.predicted_nats > wanted_nats:
        return None
    while high - low > close:
        middle = (low + high) // 2
        tried = solve(middle)
        if tried.predicted_nats <= wanted_nats:
            best, high = tried, middle
        else:
            low = middle
    return best


def size_lines(plan: Plan, size_bytes: int) -> Iterator[str]:
    """Plan lines that allow a mix of this size; the envelope's own limit is only named where it is in the way."""
    wanted = f"{size_bytes / MIB * 1.01:.1f}"
    yield f"mixed_precision:\n  max_artifact_mib: {wanted}"
    if plan.envelope.max_artifact_mib is not None and plan.envelope.max_artifact_mib * MIB < size_bytes:
        yield f"envelope:\n  max_artifact_mib: {wanted}"


def training(found: Situation) -> Iterator[Recommendation]:
    """What training would win, what it needs, or what it won."""
    plan, decision = found.plan, found.decision
    if (never := cannot_train(found.artifact.type)) is not None:
        if plan.training is not None:
            yield Recommendation(kind="training", what="Nothing can be trained here.", why=never)
        return
    if found.training is not None:
        before, after = found.training.curve[0].dev_kl_nats, found.training.chosen.dev_kl_nats
        more = found.training.chosen_step == found.training.steps_done and not found.training.stopped_early
        yield Recommendation(
            kind="training",
            what="Train longer: the last step was the best one." if more else "Training has given what it can on these texts.",
            why=f"It brought the divergence on the dev split from {before:.3g} to {after:.3g} nats in {found.training.steps_done:,} steps.",
            plan_lines=f"training:\n  steps: {4 * found.training.settings.steps}" if more else "",
        )  # fmt: skip
        return
    if plan.profile == "explore" or found.outcome == "rejected":
        return
    drops = [max(one.drop, 0.0) for one in decision.slices if one.unit == "points" and one.slice != "hardest"]
    points = sum(drops) / len(drops) if drops else 0.0
    freed = (found.evaluation.reference_performance.weights_bytes - found.evaluation.performance.weights_bytes) / 2**30
    if plan.business_case is None:
        lines = [CASE_LINES, TRAINING_LINES] if plan.training is None else [CASE_LINES]
        looks = decision.attempt + 1
        if looks > decision.attempts:
            lines.append(f"gate:\n  attempts: {looks}")
        yield Recommendation(
            kind="training", what="Write a business case, should training be worth it.",
            why=f"Training can win back at most {points:.1f} points on average and keeps the {freed:.3g} GiB that are freed; whether that pays "
            "is for your numbers to say, and for the engineering manager to sign.",
            plan_lines="\n".join(lines),
        )  # fmt: skip
    else:
        worth = measured(plan.business_case, found.evaluation, decision)
        yield Recommendation(
            kind="training", what="Leave training a look at the gate split; its business case is written.",
            why=f"At most {points:.1f} points to win back on average: {worth.verdict}.",
            plan_lines=f"gate:\n  attempts: {decision.attempts + 1}",
        )  # fmt: skip


def mib(size_bytes: float) -> str:
    return f"{size_bytes / MIB:,.2f} MiB" if size_bytes < 100 * MIB else f"{size_bytes / MIB:,.0f} MiB"
