"""`quantplay down`: stop what a run started here."""

from __future__ import annotations

import json as json_library


def command(json: bool = False) -> int:
    from flows.local import stop_services

    stopped = list(stop_services())
    if json:
        print(json_library.dumps({"stopped": stopped}))
    else:
        print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0
