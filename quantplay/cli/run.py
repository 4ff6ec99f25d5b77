"""`quantplay run PLAN`: check it, run it on this machine, show what came out; last line `package: PATH` when it is locked."""

from __future__ import annotations

import json as json_library
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError, InternalError, PlanError

if TYPE_CHECKING:
    from quantplay.cli.run_records import RunRecords
    from quantplay.signoff.text import Stage


def command(
    plan: str | None,
    update_of: str | None = None,
    model: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    path = plan_to_run(plan, update_of, model, out)
    require_runnable(path)
    records, page = run_and_read(path)
    return tell(records, page, json=json)


def plan_to_run(plan: str | None, update_of: str | None, model: Path | None, out: Path | None) -> Path:
    """The plan file; for an update, the one that is written for it."""
    if update_of is not None:
        from quantplay.cli.update_plan import updating_plan

        path = updating_plan(update_of, None if plan is None else at_hand(plan), model, out)
        from quantplay.cli.console import errors_console

        errors_console().print(f"the update's plan: {path}", markup=False)
        return path
    if plan is None or model is not None or out is not None:
        raise InputError(
            "there is no plan to run" if plan is None else "--model and --out belong to an update",
            allowed="quantplay run PLAN, or quantplay run --update-of RUN --model PATH",
            fix="`quantplay init FOLDER` writes a plan to start from",
        )
    return at_hand(plan)


def at_hand(plan: str) -> Path:
    """The plan file; one at an address is fetched with all it names."""
    from tasks.plans import local_plan

    return local_plan(plan) if "://" in plan else Path(plan)


def run_and_read(plan: Path, run: str | None = None) -> tuple[RunRecords, str]:
    """Run a plan, or go on with a run of it that waited, while the terminal shows it; what it left, and its page in Prefect."""
    from flows.local import run_plan
    from quantplay.cli.console import RunView, errors_console
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with RunView(errors_console()) as view:
        done = run_plan(plan, view.say, view, run)
    with open_store(settings()) as store:
        from quantplay.cli.run_records import records_of

        row = store.get_run(done.run)
        if row is None:
            raise InternalError(
                "the run is not in the database", value=done.run, fix="send us the plan and this message"
            )
        return records_of(store, row), done.page


def tell(records: RunRecords, page: str | None, *, json: bool, ending_only: bool = False) -> int:
    """Show a run, or only how it ended; its exit code."""
    if json:
        print(json_library.dumps({**records.body(), "page": page}, indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_runs import ending_parts, run_parts

        for part in ending_parts(records, page) if ending_only else run_parts(records, console().width, page):
            console().print(part)
        if records.package and records.awaiting is None:
            print(f"package: {records.package.path}")
    return 0 if records.run.exit_code is None else records.run.exit_code


def require_runnable(plan: Path) -> None:
    """Refuse a plan with faults before any service is started. Warnings go to standard error."""
    from quantplay.cli.console import errors_console
    from quantplay.cli.render_faults import faults_view
    from quantplay.plays.check import check_plan
    from quantplay.plays.standards import standards_in
    from quantplay.settings import settings

    report = check_plan(plan, standards=standards_in(settings().standards))
    if not report.good:
        raise PlanError(f"{plan} can't run", faults=report.faults, fix=f"mend the plan, then `quantplay check {plan}`")
    if report.warnings:
        for part in faults_view(report.warnings, "worth a look", "yellow"):
            errors_console().print(part)
        errors_console().print()
    warn_of_owners(plan)


def warn_of_owners(plan: Path) -> None:
    """Say before hours of measuring that nobody could sign what comes out; the run itself does not need the file."""
    from quantplay.cli.console import errors_console
    from quantplay.plan_file import read_plan
    from quantplay.settings import settings
    from quantplay.signoff import REQUIRED, read_owners

    found = read_plan(plan)
    stages: list[Stage] = []
    if found.profile == "production":
        stages.append("gate")
    if found.business_case is not None and found.profile != "explore":
        stages.append("training")
    if not stages:
        return
    try:
        owners = read_owners(settings().owners)
    except InputError as error:
        errors_console().print(
            f"[yellow]nobody can sign yet:[/] {error.what} ({settings().owners}); docs/sign-offs.md says how\n"
        )
        return
    for stage in stages:
        for role in REQUIRED[stage]:
            if not owners.with_role(role):
                what = "trained" if stage == "training" else "locked"
                errors_console().print(
                    f"[yellow]nobody is {role}[/] in {settings().owners}, so this run can't be {what}\n"
                )
