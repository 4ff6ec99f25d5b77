"""`quantplay down`: stop what was started here, workers first."""

from __future__ import annotations

import json as json_library


def command(drain: bool = False, json: bool = False) -> int:
    from flows.up import take_down
    from quantplay.settings import settings

    stopped = take_down(settings(), drain)
    if json:
        print(json_library.dumps({"stopped": stopped}))
    else:
        print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0
