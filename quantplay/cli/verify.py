"""`quantplay verify PACKAGE`: offline."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from quantplay.handoff.verify import VerifyReport


def command(package: Path, manifest: str | None = None, json: bool = False) -> int:
    from quantplay.handoff.verify import verify

    report = verify(package, manifest_digest=manifest)
    if json:
        print(json_library.dumps({"ok": report.ok, **asdict(report)}, indent=2))
    else:
        from quantplay.cli.console import console

        for part in verify_parts(report):
            console().print(part)
    return 0 if report.ok else IntegrityError.exit_code


def verify_parts(report: VerifyReport) -> Iterator[RenderableType]:
    """What holds, what this check can't tell, and what is wrong, the verdict last."""
    from rich.text import Text

    from quantplay.cli.render import mib
    from quantplay.cli.render_faults import faults_view

    if report.run is not None:
        yield Text.assemble(
            ("Package ", "bold"), f"{report.path}: run {report.run}, {report.files} files, {mib(report.size_bytes)}"
        )
    for sentence in report.checked:
        yield Text.assemble(("  holds  ", "green"), sentence)
    for sentence in report.not_proven:
        yield Text.assemble(("  open   ", "yellow"), sentence)
    if report.ok:
        yield Text("Nothing speaks against this package.", style="bold green")
    else:
        yield ""
        count = len(report.problems)
        title = f"{count} {'thing speaks' if count == 1 else 'things speak'} against this package"
        yield from faults_view(report.problems, title, "red")
    if report.manifest is not None:
        yield Text.assemble(("manifest ", "bold"), report.manifest)
