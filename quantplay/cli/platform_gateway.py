"""`quantplay platform-gateway`: the platform's own gateway splits the traffic; this tells it how, and reads what it counted."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.live.platform.ports import PlatformGateway
    from quantplay.store.registry import Store


def command(mapping: Path, prometheus: str | None, out: Path | None, kubectl: bool, every: int, once: bool) -> int:
    from quantplay.cli.gateway import database
    from quantplay.live.gateway.database import DatabaseOthers, DatabaseSink, DatabaseSource
    from quantplay.live.platform.envoy import EnvoyGateway
    from quantplay.live.platform.follow import Following
    from quantplay.live.platform.mapping import read_mapping
    from quantplay.live.platform.outputs import FolderOutput, KubectlOutput, TextOutput
    from quantplay.live.platform.prometheus import Prometheus, require_address
    from quantplay.settings import settings

    if out is not None and kubectl:
        raise InputError("a route goes to one place", value="--out and --kubectl", allowed="one of them")
    if not once and prometheus is None:
        raise InputError(
            "without counts the judge is blind and takes the model back",
            fix="name --prometheus URL, or write the routes --once",
        )
    if not once and out is None and not kubectl:
        raise InputError("where are the routes to go?", allowed="--out FOLDER, --kubectl, or --once to print them")
    places = read_mapping(mapping)
    output = FolderOutput(folder=out) if out else KubectlOutput() if kubectl else TextOutput()
    asked = Prometheus(url=require_address(prometheus)) if prometheus else None
    gateway, opened = EnvoyGateway(mapping=places, output=output, prometheus=asked), database(settings())
    if once:
        return write_once(gateway, opened())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    following = Following(
        gateway=gateway, source=DatabaseSource(open=opened), sink=DatabaseSink(open=opened),
        beat=DatabaseOthers(open=opened).beat, settle_seconds=places.settle_seconds,
    )  # fmt: skip
    asyncio.run(following.run(every))
    return 0


def write_once(gateway: PlatformGateway, store: Store) -> int:
    """What is in force now, for every endpoint that the mapping names; what came of it goes to standard error."""
    for policy in store.traffic_policies():
        if gateway.serves(policy.endpoint):
            print(gateway.write(policy), file=sys.stderr)
    return 0
