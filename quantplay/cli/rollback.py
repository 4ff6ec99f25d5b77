"""`quantplay rollback NAME`: full precision for everybody, at once."""

from __future__ import annotations

import getpass
import json as json_library


def command(endpoint: str, reason: str = "by hand", json: bool = False) -> int:
    from quantplay.cli.console import console
    from quantplay.live.release import roll_back
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        version = roll_back(store, endpoint, actor=getpass.getuser(), reason=reason)
        (policy,) = store.traffic_policies(endpoint)
    if json:
        print(
            json_library.dumps(
                {
                    "endpoint": endpoint,
                    "revision": policy.revision,
                    "state": policy.state,
                    "changed": version is not None,
                }
            )
        )
    elif version is None:
        console().print(
            f"{endpoint}: revision {policy.revision} was {policy.state.replace('_', ' ')} already; everybody has full precision."
        )
    else:
        console().print(f"{endpoint}: revision {policy.revision} is rolled back; everybody has full precision.")
    return 0
