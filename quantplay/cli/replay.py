"""`quantplay replay PACKAGE`: the artifact again, from sources and recipe."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.text import Text

    from quantplay.handoff.replay import ReplayReport


def command(package: Path, sources: Path | None = None, out: Path | None = None, json: bool = False) -> int:
    from quantplay.cli.console import RunView, console, errors_console
    from quantplay.handoff.replay import replay
    from quantplay.settings import settings

    with RunView(errors_console()) as view:
        report = replay(package, settings(), sources=sources, out=out, on_progress=view.report)
    if json:
        body = {"identical": report.identical, **asdict(report)}
        if report.files is not None:
            body["within_tolerance"] = report.files.within_tolerance
        print(json_library.dumps(body, indent=2))
    else:
        for part in replay_parts(report):
            console().print(part)
    return 0 if report.identical else IntegrityError.exit_code


def harmless(text: str) -> Text:
    """What a package says, without markup and without characters that move a terminal's cursor."""
    from rich.text import Text

    from quantplay.evalset.jsonl import printable

    return Text(printable(text))


def replay_parts(report: ReplayReport) -> Iterator[RenderableType]:
    """Steps, what is not as it was, what differs, the verdict last."""
    from rich.text import Text

    from quantplay.cli.render import mib, table_of

    yield Text.assemble(
        ("Package ", "bold"), f"{report.path}: ", harmless(f"run {report.run}, {report.type}, {mib(report.size_bytes)}")
    )
    rows = [
        [one.name, f"{one.seconds:.1f} s", mib(one.peak_resident_bytes), {True: "yes", False: "no", None: ""}[one.same]]
        for one in report.steps
    ]
    columns = [("step", "text"), ("time", "right"), ("peak memory", "right"), ("as recorded", "left")]
    yield table_of("Made again, each in a process of its own", columns, rows)
    if report.stack:
        rows = [[harmless(one.name), harmless(one.recorded), harmless(one.here)] for one in report.stack]
        yield table_of(
            "Not as it was when the artifact was made", [("", "text"), ("then", "text"), ("here", "text")], rows
        )
    if not report.identical:
        yield from difference_parts(report)
    if report.out is not None:
        yield Text.assemble(("kept ", "bold"), report.out)
    yield Text.assemble(("recorded ", "bold"), report.recorded, ("\nmade     ", "bold"), report.made)
    if report.identical:
        yield Text("The same bytes.", style="bold green")
    else:
        yield Text("Other bytes than the recorded artifact.", style="bold red")


def difference_parts(report: ReplayReport) -> Iterator[RenderableType]:
    """What differs in the two files, as far as the recorded one is there to compare with."""
    from rich.text import Text

    from quantplay.cli.render import table_of
    from quantplay.handoff.tensor_differences import TOLERANCE

    if not report.stack:
        yield Text(
            "Versions, processor and threads are as they were: a difference here is a fault of ours; please report it."
        )
    files = report.files
    if files is None:
        types = [f"{name}: {made} instead of {recorded}" for name, recorded, made in report.types] or [
            "all tensors have their types"
        ]
        yield Text(
            "The recorded file is not in the package, so how far the two are apart can't be told; "
            + "; ".join(harmless(one).plain for one in types)
        )
        return
    if files.metadata:
        yield Text("Keys in the header that differ: " + ", ".join(harmless(one).plain for one in files.metadata))
    rows = [
        [
            harmless(one.name), harmless(one.recorded or "none"), harmless(one.made or "none"), "" if one.changed is None else f"{100 * one.changed:.4f} %",
            "" if one.largest is None else f"{one.largest:.2g}", "" if one.distance is None else f"{100 * one.distance:.2f} %",
        ]
        for one in files.tensors
    ]  # fmt: skip
    columns = [
        ("tensor", "text"), ("recorded", "left"), ("made", "left"), ("weights that differ", "right"),
        ("largest difference", "right"), ("of quantization's own", "right"),
    ]  # fmt: skip
    if rows:
        yield table_of(f"{len(rows)} of {files.compared} tensors differ", columns, rows)
    verdict = "within" if files.within_tolerance else "outside"
    yield Text(
        f"That is {verdict} the tolerance for another machine or other versions: in every tensor at most {100 * TOLERANCE:g} % "
        "of what quantization itself changed (root mean square over the weights)."
    )
