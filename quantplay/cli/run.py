"""`quantplay run PLAN`: check it, run it on this machine, show what came out; last line `package: PATH` when there is one."""

from __future__ import annotations

import json as json_library
from pathlib import Path

from quantplay.errors import InternalError, PlanError


def command(plan: Path, json: bool = False) -> int:
    from flows.local import run_plan
    from quantplay.cli.console import RunView, console, errors_console
    from quantplay.cli.render_runs import run_view
    from quantplay.cli.run_records import records_of
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    require_runnable(plan)
    with RunView(errors_console()) as view:
        done = run_plan(plan, view.say, view)
    with open_store(settings()) as store:
        run = store.get_run(done.run)
        if run is None:
            raise InternalError(
                "the run is not in the database", value=done.run, fix="send us the plan and this message"
            )
        records = records_of(store, run)
    if json:
        print(json_library.dumps({**records.body(), "page": done.page}, indent=2))
    else:
        console().print(run_view(records, console().width, done.page))
        if records.package:
            print(f"package: {records.package.path}")
    return 0 if run.exit_code is None else run.exit_code


def require_runnable(plan: Path) -> None:
    """Refuse a plan with faults before any service is started. Warnings go to standard error."""
    from quantplay.cli.console import errors_console
    from quantplay.cli.render_faults import faults_view
    from quantplay.plays.check import check_plan

    report = check_plan(plan)
    if not report.good:
        raise PlanError(f"{plan} can't run", faults=report.faults, fix=f"mend the plan, then `quantplay check {plan}`")
    if report.warnings:
        for part in faults_view(report.warnings, "worth a look", "yellow"):
            errors_console().print(part)
        errors_console().print()
