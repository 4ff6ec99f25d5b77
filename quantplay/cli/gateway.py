"""`quantplay gateway`: one address in front of both arms, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from quantplay.settings import Settings
    from quantplay.store.registry import Store


def command(
    policy: Path | None, records: Path | None, host: str, port: int, admin_port: int | None, drift: bool = True
) -> int:  # fmt: skip
    from quantplay.settings import settings

    require_gateway()
    from quantplay.live.gateway.files import FileSink, NoSink, PolicyFileSource, read_policies
    from quantplay.live.gateway.limits import Limits
    from quantplay.live.gateway.serve import serve

    if policy is not None:
        read_policies(policy)  # faults are told now, not in a log
    elif records is not None:
        raise InputError(
            "counts go where the policies come from, which is the product database", value=f"--records {records}",
            fix="name --policy FILE as well, or leave --records out",
        )  # fmt: skip
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    here = settings()
    if policy is None:
        from quantplay.live.gateway.database import DatabaseOthers, DatabaseSink, DatabaseSource
        from quantplay.live.gateway.history import DatabaseHistory

        opened = database(here)
        source, sink = DatabaseSource(open=opened), DatabaseSink(open=opened)
        others, history = DatabaseOthers(open=opened), DatabaseHistory(open=opened)
    else:
        others = history = None
        source, sink = PolicyFileSource(path=policy), FileSink(folder=records) if records else NoSink()
    asyncio.run(serve(
        source, sink, others=others, history=history, host=host, port=port, admin_port=admin_port, keys=here.gateway_keys,
        snapshot=here.home / "gateway" / f"policies-{port}.json", limits=Limits() if drift else Limits(looked_a_minute=0),
        on_ready=lambda address: print(f"gateway: {address}/v1", flush=True),
    ))  # fmt: skip
    return 0


def require_gateway() -> None:
    """Raises MissingDependency with the command that installs what the gateway runs on."""
    try:
        import aiohttp  # noqa: F401
        import httptools  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"the gateway needs {error.name}, which is not installed", fix="pip install 'quantplay[gateway]'"
        ) from None


def database(here: Settings) -> Callable[[], Store]:
    """Opens the product database once; raises each time it can't be had."""
    from quantplay.store.registry import open_store

    lock, found = threading.Lock(), []

    def opened() -> Store:
        with lock:
            if not found:
                found.append(open_store(here))
            return found[0]

    return opened
