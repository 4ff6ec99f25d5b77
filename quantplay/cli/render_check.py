"""The check of a plan, for people: sets, faults, warnings, power."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from quantplay.cli.render import WIDE, table_of
from quantplay.cli.render_faults import faults_view
from quantplay.gate import PowerReport
from quantplay.plays.business_case import Arithmetic
from quantplay.plays.check import CheckReport
from quantplay.records import StandardsCheck


def check_view(report: CheckReport, width: int) -> Group:
    return Group(*check_parts(report, width))


def check_parts(report: CheckReport, width: int) -> Iterator[RenderableType]:
    if report.sets:
        columns = [("set", "left"), ("entries", "right"), ("slices", "text")]
        yield table_of("Data", columns, (
            [one.name, f"{one.entries:,}", ", ".join(f"{name} {count:,}" for name, count in one.slices.items())]
            for one in report.sets
        ))  # fmt: skip
    if report.power is not None:
        yield power_view(report.power, width)
        yield Text(report.room or "")
        yield ""
    if report.business_case is not None:
        yield business_case_view(report.business_case)
        yield ""
    if report.standards is not None:
        yield from standards_parts(report.standards)
        yield ""
    if report.warnings:
        yield Group(*faults_view(report.warnings, count(len(report.warnings), "warning"), "yellow"))
        yield ""
    if report.faults:
        yield Group(*faults_view(report.faults, count(len(report.faults), "fault") + ": this plan can't run", "red"))
        return
    yield Text.assemble(("This plan can run. ", "bold green"), f"Checked in {report.seconds:.1f} s.")
    yield Text.assemble(
        ("plan ", "bold"), report.plan or "", ("\ngate ", "bold"), report.gate or "", "  (what a run freezes)"
    )


def standards_parts(check: StandardsCheck) -> Iterator[RenderableType]:
    """What the plan was compared with, and the departures it gives a reason for; the others are among the faults."""
    accepted = [one for one in check.departures if one.acceptable and one.reason is not None]
    said = (
        "the plan follows them"
        if not check.departures
        else f"{count(len(check.departures), 'departure')}, {len(accepted)} with a reason"
    )
    yield Text(f"Standards: {check.title}, version {check.version}, use case {check.use_case}: {said}.")
    for one in accepted:
        yield Text(f"  Deviates ({one.rule}): {one.what}; they say {one.standard}. Because: “{one.reason}”")


def business_case_view(worth: Arithmetic) -> Group:
    """What training would be worth by the plan's own numbers, before anything is measured."""
    columns = [("business case", "text"), ("", "right"), ("from", "text")]
    rows = [[one.what, f"{one.value:,.2f} {one.unit}", one.how] for one in worth.lines]
    later = "Memory and quality are added once they are measured."
    return Group(
        table_of("Training (play 6)", columns, rows), Text(f"{worth.verdict[:1].upper()}{worth.verdict[1:]}. {later}")
    )


def count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def power_view(power: PowerReport, width: int) -> Group:
    """The chance that a lossless candidate passes, by slice and together."""
    wide = width >= WIDE
    columns = [
        ("slice", "text"),
        ("items", "right"),
        ("max_drop", "right"),
        ("passes", "right"),
        ("items needed", "right"),
        ("these carry", "right"),
    ]
    columns += [("documents", "right"), ("flips assumed", "right"), ("drop found in 80 %", "right")] if wide else []
    rows = []
    for row in power.rows:
        needed = "more than sensible" if row.items_needed is None else f"{row.items_needed:,}"
        lacking = row.items_needed is None or row.items_needed > row.items
        cells: list[RenderableType] = [
            row.slice, f"{row.items:,}", f"{row.max_drop_points:g}", f"{100 * row.pass_probability:.1f} %",
            Text(needed, style="yellow" if lacking and not power.enough else ""), f"{row.carries_points:g}",
        ]  # fmt: skip
        if wide:
            cells += [f"{row.clusters:,}", f"{100 * row.flip_rate:g} %", f"{row.minimum_detectable_points:.1f} points"]
        rows.append(cells)
    joint = Text.assemble(
        "A lossless candidate passes everything with probability ",
        (f"{100 * power.joint_probability:.0f} %", "bold green" if power.enough else "bold yellow"),
        f" (wanted: {100 * power.target:.0f} %; attempts: {power.attempts}, each tested at {100 * power.level:.3g} %).",
    )
    return Group(table_of("Power: what the gate can tell before anything ran", columns, rows), joint)
