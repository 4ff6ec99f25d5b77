"""Options all plays share.

Prefect's own cache is off: the product database decides whether a play is done, see docs/adr.
"""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from quantplay.errors import QuantplayError


def transient(task: Any, run: Any, state: Any) -> bool:
    """Retry only what the error's own type calls transient."""
    try:
        state.result()
    except QuantplayError as error:
        return error.transient
    except Exception:  # noqa: BLE001 - anything else is a fault that a retry would only repeat
        return False
    return False


PLAY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": 5,
    "retry_condition_fn": transient,
}
