"""What the planner found, for people: the ranked candidates, the bottleneck, and what speaks against quantizing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from quantplay.cli.render import WIDE, table_of
from quantplay.gate.predicted import compare, win_sentences
from quantplay.plan import Plan
from quantplay.plays.planning import Planned
from quantplay.records import Artifact, Candidate, EnvelopeChoice, Evaluation

MIB = 2**20


def plan_view(planned: Planned, width: int) -> Group:
    return Group(*plan_parts(planned, width))


def plan_parts(planned: Planned, width: int) -> Iterator[RenderableType]:
    choice = planned.choice
    for flag in planned.flags:
        yield Text.assemble(("! ", "yellow"), flag)
    yield candidates_table(choice, width)
    for candidate in choice.candidates:
        yield Text.assemble((f"{candidate.rank} {candidate.type}: ", "bold"), candidate.reason)
    yield ""
    for reason in choice.reasons:
        yield Text(reason)
    if choice.wrong_moves:
        yield ""
        yield Text("Quantizing would be the wrong move here", style="bold yellow")
        for sentence in choice.wrong_moves:
            yield Text(sentence)


def candidates_table(choice: EnvelopeChoice, width: int) -> RenderableType:
    wide = width >= WIDE
    columns = [
        ("", "right"),
        ("type", "left"),
        ("in memory", "right"),
        ("first token", "right"),
        ("per token", "right"),
    ]
    columns += [("tokens/s", "right"), ("held up by", "left")] if wide else []
    columns += [("native", "left"), ("fits", "left")]
    machine = choice.machine.name if choice.machine else "unknown chip"
    rows = [row(one, wide) for one in choice.candidates]
    if choice.full_precision is not None:
        rows.append(row(choice.full_precision, wide))
    return table_of(f"Predicted for {choice.runtime} on {machine}", columns, rows)


def row(one: Candidate, wide: bool) -> list[str]:
    told = one.prediction
    cells = [str(one.rank) if one.rank else "", one.type, f"{one.total_bytes / MIB:,.0f} MiB"]
    cells += [milliseconds(told.time_to_first_token_ms), milliseconds(told.time_per_token_ms)] if told else ["", ""]
    if wide:
        cells += [whole(told.tokens_per_second), told.decode_bound] if told else ["", ""]
    cells += ["yes" if told is None or told.native else "no", "yes" if one.fits else "no"]
    return cells


def whole(value: float) -> str:
    """Three digits that count, and no power of ten written out: predictions are good for no more."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:,.3g} s"


def predicted_parts(
    plan: Plan | None, choice: EnvelopeChoice | None, artifacts: Sequence[Artifact], evaluations: Sequence[Evaluation]
) -> Iterator[RenderableType]:
    """For every candidate that was measured: what was predicted of it, and whether the win the plan is after came."""
    made = {one.sha256: one for one in artifacts}
    for evaluation in evaluations:
        artifact = made.get(evaluation.artifact)
        if plan is None or choice is None or artifact is None:
            continue
        kind = artifact.type
        compared = compare(choice, kind, evaluation.performance, evaluation.reference_performance)
        if compared:  # a mix was not among the candidates
            columns = [(kind, "text"), ("predicted", "right"), ("measured", "right"), ("off by", "right")]
            yield table_of("Predicted and measured", columns, (
                [one.what, f"{one.predicted:,.4g} {one.unit}", f"{one.measured:,.4g} {one.unit}", f"{one.error:+.0%}"]
                for one in compared
            ))  # fmt: skip
        for sentence in win_sentences(plan.envelope, choice, evaluation, artifact):
            yield Text(sentence)
