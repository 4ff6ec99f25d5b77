"""`quantplay verify PACKAGE`: offline."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import Fault, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from quantplay.handoff.verify import VerifyReport


def command(
    package: Path, manifest: str | None = None, registry: bool = False, owners: Path | None = None, json: bool = False
) -> int:
    from quantplay.handoff.apart import verify_apart

    report = verify_apart(package, manifest_digest=manifest, owners=str(owners) if owners is not None else None)
    if registry:
        report = held_against_registry(report)
    if json:
        print(json_library.dumps({"ok": report.ok, **asdict(report)}, indent=2))
    else:
        from quantplay.cli.console import console

        for part in verify_parts(report):
            console().print(part)
    return 0 if report.ok else IntegrityError.exit_code


def held_against_registry(report: VerifyReport) -> VerifyReport:
    """The report with what the product database says about this run's package. Starts the embedded database where need be."""
    if report.run is None:
        return report
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        known = [package.manifest for package in store.packages_of_run(report.run)]
    if report.manifest in known:
        answered = tuple(line for line in report.not_proven if report.manifest not in line)
        return replace(
            report,
            checked=(*report.checked, "the product database recorded this manifest when the run was locked"),
            not_proven=answered,
        )
    fault = Fault(
        where="manifest.json",
        what="is not the manifest that the product database recorded" if known else "the product database knows no package of this run",
        value=report.manifest, allowed=", ".join(known) or None,
        fix="this is another package, or a changed one" if known else "ask the database that the run was made with: QUANTPLAY_DATABASE_URL",
    )  # fmt: skip
    return replace(report, problems=(*report.problems, fault))


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
