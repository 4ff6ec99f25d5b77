"""Records as tables and panels: readable at 80 columns, fuller where there is room, plain when piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from quantplay.gate.sentences import remarks
from quantplay.outcomes import OUTCOMES
from quantplay.records import Artifact, Baseline, Decision, EnvelopeCheck, EnvelopeChoice, SliceVerdict

WIDE = 120  # columns from which on tables show everything
VERDICT_STYLES = {"pass": "green", "close": "yellow", "broken": "red", "inconclusive": "magenta"}
OUTCOME_STYLES = {
    "locked": "green", "awaiting_signature": "cyan", "close": "yellow", "inconclusive": "magenta", "declined": "cyan",
    "explored": "cyan", "envelope_missed": "yellow",
}  # fmt: skip


def table_of(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[RenderableType]]) -> Group:
    """A table without vertical lines; `columns` are (heading, `left`, `right` or `text`): only `text` is wrapped."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, kind in columns:
        justify = "right" if kind == "right" else "left"
        table.add_column(heading, justify=justify, no_wrap=kind != "text", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return Group(Text(title, style="bold"), table)  # a title of the table's own would be wrapped to its width


def mib(size_bytes: float) -> str:
    return f"{size_bytes / (1 << 20):,.1f} MiB"


def signed(value: float, digits: int = 1) -> str:
    """`+1.2`, `-0.3`, and `0.0` rather than `-0.0`."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def plain(value: float, digits: int = 1) -> str:
    """`1.2`, `-0.3`, and `0.0` rather than `-0.0`."""
    return signed(value, digits).removeprefix("+")


def verdict_text(verdict: str) -> Text:
    return Text(verdict, style=VERDICT_STYLES.get(verdict, ""))


# --- the gate ------------------------------------------------------------------------------------------------------


def gate_table(decision: Decision, width: int) -> Group:
    """One row a gated quantity. Drops are in points, positive is worse; losses in nats a token."""
    wide = width >= WIDE
    columns = [("slice", "text"), ("full", "right"), ("quant", "right"), ("drop", "right"), ("90 % interval", "right")]
    columns += [("upper", "right")] if wide else []
    columns += [("limit", "right")]
    columns += [("conversion", "right"), ("lost/won", "right"), ("p", "right"), ("items", "right")] if wide else []
    columns += [("verdict", "left")]
    title = f"Gate, attempt {decision.attempt} of {decision.attempts}, tested at {100 * decision.alpha:.3g} % (a positive drop is worse)"
    return table_of(title, columns, (gate_row(row, wide=wide) for row in decision.slices))


def gate_row(row: SliceVerdict, *, wide: bool) -> list[RenderableType]:
    score = row.metric == "score"
    digits = 1 if score else 3
    cells: list[RenderableType] = [
        row.slice if score else f"{row.slice} loss", f"{row.baseline:.{digits}f}", f"{row.candidate:.{digits}f}",
        signed(row.drop, digits), f"{plain(row.interval_low, digits)} to {plain(row.interval_high, digits)}",
    ]  # fmt: skip
    cells += [plain(row.upper, digits)] if wide else []
    cells += [f"{row.max_drop:g}"]
    if wide:
        cells += [
            "" if row.conversion_drop is None else signed(row.conversion_drop, digits),
            f"{row.lost}/{row.won}" if score else "", "" if row.mcnemar_p is None else f"{row.mcnemar_p:.3f}", f"{row.items:,}",
        ]  # fmt: skip
    return [*cells, verdict_text(row.verdict)]


def envelope_table(checks: Sequence[EnvelopeCheck]) -> Group:
    columns = [("envelope", "text"), ("measured", "right"), ("limit", "right"), ("", "left"), ("met", "left")]
    return table_of("Promises of the envelope", columns, (
        [check.name, f"{check.measured:,.4g}", f"{check.limit:,.4g}", check.unit,
         Text("yes", style="green") if check.met else Text("no", style="red")]
        for check in checks
    ))  # fmt: skip


def decision_view(decision: Decision, width: int) -> Group:
    """The gate table, the envelope, alarms, and the reasons in words."""
    parts: list[RenderableType] = [gate_table(decision, width)]
    parts += [envelope_table(decision.envelope)] if decision.envelope else []
    if decision.alarms:
        parts += [Text("Alarms (worth a look, never a verdict)", style="bold yellow")]
        parts += [*(Padding(Text(alarm.text), (0, 0, 0, 2)) for alarm in decision.alarms), ""]
    if noted := remarks(decision):
        parts += [Text("To know beside the verdict", style="bold yellow")]
        parts += [*(Padding(Text(remark), (0, 0, 0, 2)) for remark in noted), ""]
    parts += [Text.assemble(("Verdict: ", "bold"), verdict_text(decision.verdict))]
    return Group(*parts, *(Padding(Text(reason), (0, 0, 0, 2)) for reason in decision.reasons))


# --- other plays ---------------------------------------------------------------------------------------------------


def baseline_table(baseline: Baseline) -> Group:
    source, reference = baseline.source.scores(), baseline.reference.scores()
    counts: dict[str, int] = {}
    for item in baseline.source.items:
        counts[item.slice] = counts.get(item.slice, 0) + 1
    columns = [
        ("slice", "text"),
        ("items", "right"),
        (baseline.source.runtime, "right"),
        (baseline.reference.runtime, "right"),
    ]
    title = f"Baseline in {baseline.precision}, score in points"
    return table_of(title, columns, (
        [name, f"{counts[name]:,}", f"{100 * score:.1f}", f"{100 * reference[name]:.1f}" if name in reference else ""]
        for name, score in source.items()
    ))  # fmt: skip


def candidates_table(choice: EnvelopeChoice, width: int) -> Group:
    columns = [
        ("rank", "right"),
        ("type", "left"),
        ("bits", "right"),
        ("weights", "right"),
        ("in all", "right"),
        ("fits", "left"),
    ]
    columns += [("reason", "text")] if width >= WIDE else []
    rows = []
    for one in choice.candidates:
        chosen = one == choice.chosen
        row: list[RenderableType] = [
            str(one.rank), Text(one.type, style="bold" if chosen else ""), f"{one.bits_per_weight:.2f}",
            mib(one.weights_bytes), mib(one.total_bytes), "yes" if one.fits else "no",
        ]  # fmt: skip
        rows.append([*row, one.reason] if width >= WIDE else row)
    return table_of(f"Envelope: {choice.chosen.type} for {choice.bottleneck}", columns, rows)


def artifact_line(artifact: Artifact) -> Text:
    return Text.assemble(
        ("Artifact ", "bold"), f"{artifact.file_name}, {mib(artifact.size_bytes)}, ",
        f"{artifact.bits_per_weight:.2f} bits a weight, sha256 {artifact.sha256[:12]}",
    )  # fmt: skip


def outcome_panel(name: str, *, reasons: Sequence[str] = (), next_play: str | None = None) -> Panel:
    """How a run ended, in colour and words."""
    outcome = OUTCOMES[name]
    style = OUTCOME_STYLES.get(name, "red")
    text = Text(outcome.when[:1].upper() + outcome.when[1:] + ".")
    for reason in reasons:
        text.append(f"\n{reason}")
    if next_play and not outcome.good:
        text.append("\nNext: ", style="bold").append(next_play)
    return Panel(text, title=f"{outcome.title} (exit code {outcome.exit_code})", title_align="left", border_style=style)
