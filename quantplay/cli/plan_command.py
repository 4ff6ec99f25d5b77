"""`quantplay plan PLAN`."""

from __future__ import annotations

from pathlib import Path


def command(plan: Path, target: str | None, runtime: str | None, json: bool = False) -> int:
    from quantplay.plays.planning import plan_file
    from quantplay.settings import settings

    planned = plan_file(plan, settings().threads, target=target, runtime=runtime)
    if json:
        print(planned.model_dump_json(indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_plan import plan_view

        console().print(plan_view(planned, console().width))
    return 0
