"""`quantplay migrate`: the product database's tables brought to what this version knows; for the one-shot step of a deployment."""

from __future__ import annotations

import json as json_library


def command(json: bool = False) -> int:
    from quantplay.cli.console import errors_console
    from quantplay.settings import settings
    from quantplay.store.registry import open_store
    from quantplay.store.schema import HEAD

    with open_store(settings(), errors_console().print) as store:
        where, identity = store.where, store.database_id
    if json:
        print(json_library.dumps({"database": where, "identity": identity, "tables": HEAD}))
    else:
        print(f"{where} holds the tables of version {HEAD}; its identity is {identity}")
    return 0
