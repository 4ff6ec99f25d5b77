"""`quantplay up`: everything a team needs to start runs from the Prefect UI, on this machine or on a server that is there."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.up import Up


def command(workers: bool = True, json: bool = False) -> int:
    from flows.up import bring_up
    from quantplay.cli.console import RunView, errors_console
    from quantplay.settings import settings

    up = bring_up(settings(), RunView(errors_console()).say, workers)
    if json:
        print(json_library.dumps(asdict(up)))
    else:
        show(up)
    return 0


def show(up: Up) -> None:
    from quantplay.cli.console import console
    from quantplay.cli.render_platform import deployments_table, pools_table

    out = console()
    out.print(pools_table(up.platform))
    out.print(deployments_table(up.platform))
    out.print("changed: " + ", ".join(up.changed) if up.changed else "everything was there", style="green")
    out.print(f"database: {up.database}", markup=False)
    out.print(f"Prefect UI: {up.page}", markup=False)
