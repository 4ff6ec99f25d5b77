"""`quantplay judge`: look at every endpoint, now or every minute. Needs the product database and nothing else: no Prefect."""

from __future__ import annotations

import json as json_library
import time
from typing import TYPE_CHECKING

from quantplay.errors import QuantplayError, ServiceUnavailable

if TYPE_CHECKING:
    from quantplay.live.tick import Look
    from quantplay.store.registry import Store


def command(endpoint: str | None = None, every: int = 60, once: bool = False, json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        while True:
            code = look_around(store, endpoint, json)
            if once:
                return code
            time.sleep(every)


def look_around(store: Store, endpoint: str | None, json: bool) -> int:
    """One look at each endpoint. A fault at one keeps no other from being judged."""
    from quantplay.live.tick import look

    code = 0
    try:
        names = [endpoint] if endpoint is not None else [one.endpoint for one in store.traffic_policies()]
    except ServiceUnavailable as error:
        tell_fault("*", error, json)
        return error.exit_code
    for name in names:
        try:
            seen = look(store, name)
        except QuantplayError as error:
            code = error.exit_code
            tell_fault(name, error, json)
            continue
        tell(name, seen, json)
    return code


def tell_fault(name: str, error: QuantplayError, json: bool) -> None:
    import sys

    if json:
        print(json_library.dumps({"endpoint": name, "error": error.what}), flush=True)
    else:
        print(f"{name}: {error}", file=sys.stderr, flush=True)


def tell(name: str, seen: Look | None, json: bool) -> None:
    """A line an endpoint."""
    if json:
        body = None if seen is None else seen.verdict.body() | {"state": None}
        print(json_library.dumps({"endpoint": name, "verdict": body, "done": seen.done if seen else ""}), flush=True)
        return
    from quantplay.cli.console import console

    if seen is None:
        console().print(f"{name}: the quantized model serves nobody, so there is nothing to judge.")
        return
    console().print(
        f"{name}, revision {seen.revision}: {seen.verdict.action}. {' '.join(seen.verdict.reasons)} {seen.done}".rstrip()
    )
