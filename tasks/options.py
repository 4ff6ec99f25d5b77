"""Options all plays share.

Prefect's own cache is off: the product database decides whether a play is done, see docs/adr.
"""

from __future__ import annotations

from typing import Any

import httpx
from prefect.cache_policies import NO_CACHE

from quantplay.errors import QuantplayError

SERVER_ERROR = 500
TRANSIENT_RETRIES = 2  # of our own errors, which have been patient before they were raised


def transient(task: Any, run: Any, state: Any) -> bool:
    """Retry only what the error's own type calls transient."""
    try:
        state.result()
    except QuantplayError as error:
        return error.transient and run.run_count <= TRANSIENT_RETRIES
    except httpx.TransportError:  # Prefect's server is away: the play itself is recorded and found again
        return True
    except httpx.HTTPStatusError as error:
        return error.response.status_code >= SERVER_ERROR
    except Exception:  # noqa: BLE001 - anything else is a fault that a retry would only repeat
        return False
    return False


PLAY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 5,
    "retry_delay_seconds": [2, 5, 10, 30, 60],
    "retry_condition_fn": transient,
}
