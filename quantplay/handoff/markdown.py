"""The same results as Markdown, for pages that show Markdown: the gate, the baseline, the envelope, the whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantplay.gate.sentences import remarks
from quantplay.handoff import words
from quantplay.handoff.calibration import calibration_words
from quantplay.handoff.contents import RunResults
from quantplay.handoff.templating import md
from quantplay.handoff.updates import HEAD, cells, update_sentence, updates_of
from quantplay.plan import Plan
from quantplay.plays.business_case import Arithmetic
from quantplay.records import Baseline, CalibrationCheck, Decision, EnvelopeChoice, Performance, Spread

MARKS = {"pass": "✓ pass", "close": "! close", "broken": "✕ broken", "inconclusive": "? inconclusive"}
"""The glyphs of the report, which every font has."""


def gate_markdown(decision: Decision, plan: Plan) -> str:
    """The gate table, the envelope's promises and the alarms."""
    rows = [
        (
            md(words.slice_title(plan, one)),
            MARKS[one.verdict],
            words.drop_text(one),
            f"{one.max_drop:g} {one.unit}",
            f"{words.number(one.baseline, words.digits_of(one))} {_unit(one.unit)}",
            f"{words.number(one.candidate, words.digits_of(one))} {_unit(one.unit)}",
            str(one.items),
            f"{one.lost} / {one.won}" if one.metric == "score" else "",
        )
        for one in decision.slices
    ]
    # What matters first: Prefect shows this in a narrow dialog too, where the right half has to be scrolled to.
    head = ("Slice", "Verdict", "Drop (90 % interval)", "Allowed", "Full precision", "Quantized", "Items", "Lost / won")
    parts = [
        f"**{MARKS[decision.verdict]}**, attempt {decision.attempt} of {decision.attempts}. Next: {md(decision.next_play)}.",
        "\n".join(f"- {md(reason)}" for reason in decision.reasons),
        table(head, rows, numbers=(2, 3, 4, 5, 6, 7)),
    ]
    if noted := remarks(decision):
        parts.append("**To know beside the verdict:**\n\n" + "\n".join(f"- ⚠️ {md(one)}" for one in noted))
    if decision.envelope:
        promises = [
            (
                md(one.name),
                f"{words.compact(one.measured, 4)} {one.unit}",
                f"{one.limit:g} {one.unit}",
                "✓" if one.met else "✕",
            )
            for one in decision.envelope
        ]
        parts.append(table(("Promise of the envelope", "Measured", "Limit", "Met"), promises, numbers=(1, 2)))
    if decision.alarms:
        parts.append("Alarms, which never decide:\n\n" + "\n".join(f"- {md(one.text)}" for one in decision.alarms))
    return "\n\n".join(parts) + "\n"


def _unit(unit: str) -> str:
    return "%" if unit == "points" else unit


def baseline_markdown(baseline: Baseline, plan: Plan) -> str:
    """Quality of full precision in both runtimes, the noise floor, speed and memory."""
    source, reference = baseline.source.scores(), baseline.reference.scores()
    counts: dict[str, int] = {}
    for item in baseline.source.items:
        counts[item.slice] = counts.get(item.slice, 0) + 1
    floor, serving = baseline.noise_floor, baseline.reference.serving
    rows = [
        (
            md(words.title_of(plan, name)),
            str(counts[name]),
            words.percent(mean),
            words.percent(reference[name]) if name in reference else "",
            f"{words.number(floor.max_drop_points[name])} points" if name in floor.max_drop_points else "",
        )
        for name, mean in source.items()
    ]
    head = (
        "Slice",
        "Items",
        f"In {md(baseline.source.runtime)}",
        f"In {md(baseline.reference.runtime)}",
        "Noise floor",
    )
    return (
        "\n\n".join(
            [
                f"Full precision ({md(baseline.precision)}) on {md(baseline.fingerprint.hardware.cpu)}, "
                f"{baseline.fingerprint.threads} thread(s).",
                *([f"Served by {md(serving['server'])}, {md(serving['flags'])}."] if "server" in serving else []),
                table(head, rows, numbers=(1, 2, 3, 4)),
                f"Noise floor: {md(floor.changed)}; {words.percent(floor.flip_rate)} of {floor.items} items flipped.",
                performance_markdown({"Full precision": baseline.performance}),
            ]
        )
        + "\n"
    )


def calibration_markdown(check: CalibrationCheck, plan: Plan) -> str:
    """What the calibration set is like, and every finding with the reason that waives it."""
    said = calibration_words(check, plan)
    parts = [f"**{md(said.verdict)}**"]
    if said.findings:
        rows = [
            (md(one.rule), md(one.what), md(one.value), md(one.allowed), md(one.waiver or "none: the run stops"))
            for one in said.findings
        ]
        parts.append(table(("Rule", "Defect", "Found", "Allowed", "Accepted because"), rows))
    parts.append(table(("Looked at", "Found"), [(md(name), md(value)) for name, value in said.facts]))
    return "\n\n".join(parts) + "\n"


def envelope_markdown(choice: EnvelopeChoice) -> str:
    """Every candidate by rank, and why the chosen one."""
    rows = [
        (
            str(one.rank),
            f"**{one.type}**" if one == choice.chosen else one.type,
            words.number(one.bits_per_weight, 2),
            words.size(one.weights_bytes),
            words.size(one.total_bytes),
            f"{one.prediction.time_per_token_ms:.3g} ms" if one.prediction else "",
            "✓ fits" if one.fits else "✕ too large",
            md(one.reason),
        )
        for one in choice.candidates
    ]
    budget = words.size(choice.budget_bytes) if choice.budget_bytes else "none"
    head = ("Rank", "Type", "Bits a weight", "Weights", "In memory", "Per token", "", "Why")
    against = [f"Quantizing would be the wrong move here: {md(sentence)}" for sentence in choice.wrong_moves]
    return (
        "\n\n".join(
            [
                f"Runtime {md(choice.runtime)}, memory budget {budget}, to win {md(choice.bottleneck)}.",
                *against,
                "\n".join(f"- {md(reason)}" for reason in choice.reasons),
                table(head, rows, numbers=(0, 2, 3, 4, 5)),
            ]
        )
        + "\n"
    )


def business_case_markdown(worth: Arithmetic) -> str:
    """What training would be worth, line by line."""
    rows = [(md(one.what), f"{one.value:,.2f} {md(one.unit)}", md(one.how)) for one in worth.lines]
    return (
        table(("Business case", "", "From"), rows, numbers=(1,))
        + f"\n\n**{md(worth.verdict[:1].upper() + worth.verdict[1:])}.**"
    )


def summary_markdown(results: RunResults) -> str:
    """A run in a few lines: verdict, numbers, what is next."""
    head = words.headline(results)
    parts = [f"## {md(head.title)}", f"**{md(head.next_step)}** {md(words.left_sentence(results))}".strip()]
    if results.decision:
        parts.append("\n".join(f"- {md(reason)}" for reason in results.decision.reasons))
    if results.update:
        parts.append(md(update_sentence(results.update, results.artifact.type if results.artifact else None)))
        if rows := updates_of(results.update, results.decision, results.plan):
            parts.append(table(HEAD, [[md(cell) for cell in cells(row)] for row in rows], numbers=range(1, len(HEAD))))
    if results.evaluation:
        parts.append(
            performance_markdown(
                {
                    "Full precision": results.evaluation.reference_performance,
                    f"Quantized{f' ({results.artifact.type})' if results.artifact else ''}": results.evaluation.performance,
                }
            )
        )
    if results.seconds:
        took = ", ".join(f"{md(play)} {words.duration(seconds)}" for play, seconds in results.seconds.items())
        parts.append(f"Plays that ran: {took}.")
    if results.plan.trade_off:
        parts.append(f"The trade-off: {md(results.plan.trade_off)}")
    return "\n\n".join(parts) + "\n"


def performance_markdown(arms: Mapping[str, Performance]) -> str:
    """Speed and memory, one column a model."""
    one = next(iter(arms.values()))
    rows = [
        ("Time to first token, ms: median (p95)", *(_spread(p.time_to_first_token_ms) for p in arms.values())),
        ("Time per token, ms: median (p95)", *(_spread(p.time_per_token_ms) for p in arms.values())),
        ("Prompt, tokens/s", *(words.compact(p.prompt_tokens_per_second) for p in arms.values())),
        ("Generated, tokens/s", *(words.compact(p.generated_tokens_per_second) for p in arms.values())),
        ("Weights", *(words.size(p.weights_bytes) for p in arms.values())),
        ("Key-value cache", *(words.size(p.cache_bytes) for p in arms.values())),
        ("Peak memory", *(words.size(p.peak_bytes) for p in arms.values())),
    ]
    load = (
        f"{one.batch} sequence(s), context {one.context_tokens} tokens, {one.threads} thread(s), {one.repeats} repeats"
    )
    return table((load, *(md(name) for name in arms)), rows, numbers=range(1, len(arms) + 1))


def _spread(spread: Spread) -> str:
    return f"{words.compact(spread.p50)} ({words.compact(spread.p95)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A Markdown table; cells are already escaped. `numbers` are columns to align to the right."""
    rule = ["---:" if index in numbers else "---" for index in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
