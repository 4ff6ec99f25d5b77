"""`quantplay check PLAN`."""

from __future__ import annotations

from pathlib import Path

from quantplay.errors import PlanError


def command(plan: Path, json: bool = False) -> int:
    from quantplay.plays.check import check_plan
    from quantplay.plays.standards import standards_in
    from quantplay.settings import settings

    report = check_plan(plan, standards=standards_in(settings().standards))
    if json:
        print(report.model_dump_json(indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_check import check_view

        console().print(check_view(report, console().width))
    return 0 if report.good else PlanError.exit_code
