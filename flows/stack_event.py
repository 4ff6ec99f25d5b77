"""Tell the Prefect server that this machine's stack changed; whoever listens there starts a re-validation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from flows.services import api_environment
from quantplay.errors import ServiceUnavailable
from quantplay.records import Fingerprint, StackChange
from quantplay.settings import Settings

UPGRADED = "stack.upgraded"
RESOURCE = "quantplay.host"


def tell_upgraded(
    settings: Settings, changes: Sequence[StackChange], before: Fingerprint, now: Fingerprint
) -> str | None:
    """Send the event, and return the server's address; None where no server is named and none runs here.

    Raises ServiceUnavailable where one is named and does not take it.
    """
    try:
        here = api_environment(settings)
    except ServiceUnavailable:
        if settings.prefect_api_url is not None:
            raise
        return None
    os.environ.update(here)
    import httpx
    from prefect.client.orchestration import get_client

    host = platform.node()
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": UPGRADED,
        "resource": {"prefect.resource.id": f"{RESOURCE}.{host}", "prefect.resource.name": host},
        "payload": {
            "host": host, "before": before.digest(), "now": now.digest(), "changes": [change.body() for change in changes],
        },
    }  # fmt: skip
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event])  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            "the Prefect server did not take the news that the stack changed", value=f"{here['PREFECT_API_URL']}: {error}",
            fix="look at the server, then run `quantplay doctor --watch --once` again: it was not noted as told",
        ) from error  # fmt: skip
    return here["PREFECT_API_URL"]
