"""A worker outlives a Prefect server that is away.

Prefect's own worker ends after about a minute and a half without its server, and stops hearing of cancellations after some
seconds, for good. Here every look at the server that fails is tried again at its next turn, for as long as it takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import httpx
from prefect._internal.observers import FlowRunCancellingObserver

if TYPE_CHECKING:
    from prefect.workers.process import ProcessWorker

P = ParamSpec("P")
T = TypeVar("T")
SERVER_ERROR = 500


def outlive_the_server(worker: ProcessWorker, say: Callable[[str], None]) -> None:
    """Make `worker`, and all that this process watches for it, go on while its server is away."""
    worker.get_and_submit_flow_runs = forgiving(worker.get_and_submit_flow_runs, list, say)
    worker.sync_with_backend = forgiving(worker.sync_with_backend, lambda: None, say)
    # One observer a flow run; each polls for a cancellation once its websocket broke.
    looks = FlowRunCancellingObserver._check_for_cancelled_flow_runs
    FlowRunCancellingObserver._check_for_cancelled_flow_runs = forgiving(looks, lambda: None, lambda text: None)  # type: ignore[method-assign]


def forgiving(
    look: Callable[P, Coroutine[Any, Any, T]], nothing: Callable[[], T], say: Callable[[str], None]
) -> Callable[P, CoroutineType[Any, Any, T]]:
    """`look`, giving `nothing()` where the server does not answer. Says so once, and again when it is back."""
    away = False

    @functools.wraps(look)
    async def called(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal away
        try:
            found = await look(*args, **kwargs)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < SERVER_ERROR:
                raise
            if not away:
                say("the Prefect server does not answer; waiting for it")
            away = True
            return nothing()
        if away:
            say("the Prefect server is back")
        away = False
        return found

    return called
