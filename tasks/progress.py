"""Where progress goes: to whoever listens in this process (the terminal), and to a progress artifact of the Prefect run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from quantplay.process import Report

ARTIFACT_SECONDS = 2.0  # between updates of a progress artifact: each is a request to the server


class Listener(Protocol):
    """The terminal's side."""

    def play(self, name: str, state: str) -> None: ...

    def progress(self, name: str, done: int, total: int, text: str) -> None: ...


_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Tell `listener` of every play until the returned function is called."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def announce(play: str, state: str) -> None:
    """Tell whoever listens, and the log of the Prefect run, which is all there is to look at where a worker does it."""
    for listener in _listeners:
        listener.play(play, state)
    log(f"{play}: {state}")


def log(line: str) -> None:
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    with suppress(MissingContextError):  # before a run, or outside Prefect
        get_run_logger().info(line)


def reporter(play: str) -> Report:
    """A progress callback for the heavy part of `play`."""
    artifacts: dict[str, UUID] = {}
    last = 0.0

    def report(done: int, total: int, text: str) -> None:
        nonlocal last
        for listener in _listeners:
            listener.progress(play, done, total, text)
        now = time.monotonic()
        if total > 0 and (now - last >= ARTIFACT_SECONDS or (done >= total and text in artifacts)):
            last = now
            show(artifacts, play, 100 * done / total, text)

    return report


def show(artifacts: dict[str, UUID], play: str, percent: float, text: str) -> None:
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    if text in artifacts:
        update_progress_artifact(artifacts[text], progress=percent)
    else:
        made: Any = create_progress_artifact(progress=percent, description=f"{play}: {text}")
        artifacts[text] = made
