"""`quantplay gateway`: one address in front of both arms, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from quantplay.errors import InputError, MissingDependency


def command(policy: Path | None, records: Path | None, host: str, port: int, admin_port: int | None) -> int:
    from quantplay.settings import settings

    try:
        import aiohttp  # noqa: F401
        import httptools  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"the gateway needs {error.name}, which is not installed", fix="pip install 'quantplay[gateway]'"
        ) from None
    from quantplay.live.gateway.files import FileSink, NoSink, PolicyFileSource, read_policies
    from quantplay.live.gateway.serve import serve

    if policy is None:
        raise InputError(
            "no policies are named", allowed="--policy FILE", fix="write one as docs/gateway.md shows, and name it"
        )
    read_policies(policy)  # faults are told now, not in a log
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    here = settings()
    asyncio.run(serve(
        PolicyFileSource(path=policy), FileSink(folder=records) if records else NoSink(),
        host=host, port=port, admin_port=admin_port, keys=here.gateway_keys,
        snapshot=here.home / "gateway" / f"policies-{port}.json",
        on_ready=lambda address: print(f"gateway: {address}/v1", flush=True),
    ))  # fmt: skip
    return 0
