"""`quantplay judge`: look at every endpoint, now or every minute. Needs the product database and nothing else: no Prefect."""

from __future__ import annotations

import json as json_library
import sys
import time
from typing import TYPE_CHECKING

from quantplay.errors import QuantplayError, ServiceUnavailable

if TYPE_CHECKING:
    from quantplay.live.send import Addresses
    from quantplay.live.watch import Watched
    from quantplay.store.registry import Store


def command(endpoint: str | None = None, every: int = 60, once: bool = False, json: bool = False) -> int:
    from quantplay.live.retention import tidy
    from quantplay.live.send import read_addresses
    from quantplay.live.watch import endpoints
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here = settings()
    addresses = read_addresses(here.notices) if here.notices is not None else None
    with open_store(here) as store:
        endpoints(store, endpoint)  # a name that nobody has is refused now, not looked at for ever
        tidied: int | None = None
        while True:
            code = look(store, endpoint, addresses, json)
            if once:
                return code
            if tidied != (hour := int(time.time() // 3600)):
                try:
                    tidy(store)
                    tidied = hour
                except QuantplayError as error:
                    tell_fault("*", error, json)
            time.sleep(every)


def look(store: Store, endpoint: str | None, addresses: Addresses | None, json: bool) -> int:
    """One look at each endpoint; the exit code of the last fault. People are told after everything was judged."""
    from quantplay.live.send import tell_people
    from quantplay.live.watch import endpoints, look_around

    code = 0
    try:
        watched = look_around(store, endpoints(store, endpoint))
        for one in watched:
            tell(one, json)
            code = one.fault.exit_code if one.fault is not None else code
        if addresses is not None:
            for text in tell_people(store, watched, addresses):
                print(text, file=sys.stderr, flush=True)
    except ServiceUnavailable as error:
        tell_fault("*", error, json)
        return error.exit_code
    return code


def tell_fault(name: str, error: QuantplayError, json: bool) -> None:
    if json:
        print(json_library.dumps({"endpoint": name, "error": error.what}), flush=True)
    else:
        print(f"{name}: {error}", file=sys.stderr, flush=True)


def tell(one: Watched, json: bool) -> None:
    """A line an endpoint."""
    if one.fault is not None:
        tell_fault(one.endpoint, one.fault, json)
        return
    seen = one.look
    if json:
        body = None if seen is None else seen.verdict.body() | {"state": None}
        done = seen.done if seen else ""
        print(json_library.dumps({"endpoint": one.endpoint, "verdict": body, "done": done}), flush=True)
        return
    from quantplay.cli.console import console

    if seen is None:
        console().print(f"{one.endpoint}: the quantized model serves nobody, so there is nothing to judge.")
        return
    console().print(
        f"{one.endpoint}, revision {seen.revision}: {seen.verdict.action}. "
        f"{' '.join(seen.verdict.reasons)} {seen.done}".rstrip()
    )
