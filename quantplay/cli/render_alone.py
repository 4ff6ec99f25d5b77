"""The evaluation of one model by itself, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from quantplay.cli.render import mib, table_of
from quantplay.plays.alone import AloneReport
from quantplay.records import Performance


def alone_view(report: AloneReport) -> Group:
    columns = [
        ("slice", "text"),
        ("items", "right"),
        ("documents", "right"),
        ("score", "right"),
        ("95 % interval", "right"),
    ]
    rows = [
        [one.slice, f"{one.items:,}", f"{one.documents:,}", f"{one.score:.1f}", f"{one.low:.1f} to {one.high:.1f}"]
        for one in (*report.slices, report.overall)
    ]
    title = f"{report.model} in {report.runtime}, {report.precision}: score in points"
    facts = Text.assemble(
        f"{report.seconds:.1f} s in all, {1000 / report.items_per_second:.1f} ms an item at batch {report.batch} with "
        f"{report.threads} {'thread' if report.threads == 1 else 'threads'}, peak memory {mib(report.peak_resident_bytes)}",
        ("\nharness ", "bold"), report.harness,
    )  # fmt: skip
    parts: list[RenderableType] = [table_of(title, columns, rows)]
    parts += [performance_table(report.performance)] if report.performance else []
    return Group(*parts, facts)


def performance_table(measured: Performance) -> RenderableType:
    """Speed and memory at one context and batch."""
    first, token = measured.time_to_first_token_ms, measured.time_per_token_ms
    rows = [
        ["time to first token", f"{first.p50:.1f} ms", f"{first.p95:.1f} ms"],
        ["time per token, a sequence", f"{token.p50:.2f} ms", f"{token.p95:.2f} ms"],
        ["prompt", f"{measured.prompt_tokens_per_second:,.0f} tokens/s", ""],
        ["generation, all sequences", f"{measured.generated_tokens_per_second:,.0f} tokens/s", ""],
        ["weights", mib(measured.weights_bytes), ""],
        ["key-value cache", mib(measured.cache_bytes), ""],
        ["peak resident memory", mib(measured.peak_resident_bytes), ""],
    ]
    if measured.device_bytes is not None:
        rows.append(["memory of the accelerator", mib(measured.device_bytes), ""])
    title = (
        f"Speed and memory: context {measured.context_tokens:,}, batch {measured.batch}, {measured.threads} thread"
        f"{'' if measured.threads == 1 else 's'}, {measured.repeats} repeats"
    )
    return table_of(title, [("", "left"), ("median", "right"), ("95th percentile", "right")], rows)
