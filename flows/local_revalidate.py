"""Re-validate on one machine: services up, flow inline, how each package stands out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from flows.services import ensure_server, prefect_environment
from quantplay.plays.standing import Standing
from quantplay.settings import settings


def revalidate_here(
    packages: str, only_if_changed: bool, say: Callable[[str], None], listener: object | None = None
) -> tuple[Standing, ...]:
    """`packages`: all, or first characters of one package's key. Raises quantplay's own errors as they are."""
    here = settings()
    os.environ.update({key: os.environ.get(key, value) for key, value in prefect_environment(here).items()})
    ensure_server(here, say)
    from flows.revalidate import revalidate  # only now: Prefect reads its settings when it is imported
    from tasks.progress import listen

    stop_listening = listen(listener) if listener is not None else lambda: None  # type: ignore[arg-type]
    try:
        state = revalidate(packages, "by hand", only_if_changed, return_state=True)
    finally:
        stop_listening()
    return tuple(Standing.model_validate(body) for body in cast("list[dict[str, Any]]", state.result()))
