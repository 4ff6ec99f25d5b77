"""`quantplay show [RUN]`."""

from __future__ import annotations

import json as json_library

from quantplay.errors import InputError


def command(run: str, limit: int, answers: int = 0, json: bool = False) -> int:
    from quantplay.cli.console import console
    from quantplay.cli.render_answers import answers_body, answers_parts
    from quantplay.cli.render_runs import run_view, runs_table
    from quantplay.cli.run_records import records_of
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        if run:
            found = store.get_run(run)
            if found is None:
                raise InputError("there is no such run", value=run, fix="`quantplay show` lists the runs")
            records = records_of(store, found)
            if json:
                told = {"answers": answers_body(records, answers)} if answers else {}
                print(json_library.dumps(records.body() | told, indent=2))
                return 0
            console().print(run_view(records, console().width))
            for part in answers_parts(records, answers) if answers else ():
                console().print(part)
            if records.package and records.awaiting is None:
                print(f"package: {records.package.path}")
            return 0
        runs = store.list_runs(limit)
        plans = {one.plan: store.get_plan(one.plan) for one in runs}
        names = [plan.name if (plan := plans[one.plan]) else one.plan[:12] for one in runs]
    if json:
        rows = [
            {
                "run": str(one.id), "plan": one.plan, "name": name, "profile": one.profile, "state": one.state,
                "outcome": one.outcome, "exit_code": one.exit_code, "started_at": one.started_at.isoformat(),
                "finished_at": one.finished_at.isoformat() if one.finished_at else None, "package": one.package,
            }
            for one, name in zip(runs, names, strict=True)
        ]  # fmt: skip
        print(json_library.dumps({"runs": rows}, indent=2))
    elif runs:
        console().print(runs_table(runs, names, console().width))
    else:
        console().print("No run yet. `quantplay run PLAN` makes one; `quantplay init` writes a plan to start from.")
    return 0
