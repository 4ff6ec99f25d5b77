"""A database that goes away is waited for: hours of measuring are worth its restart."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from quantplay.errors import ServiceUnavailable

RETRY_SECONDS = 0.5
P = ParamSpec("P")
T = TypeVar("T")


class Patient(Protocol):
    """What has a database that can go away."""

    patience_seconds: float
    revive: Callable[[], object]
    """Starts the server again where it is ours to start."""
    say: Callable[[str], None]


S = TypeVar("S", bound=Patient)


def patiently(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Call `method` again while the database is away, as long as the patience of its object lasts.

    For methods that are one transaction each: one that broke off left nothing.
    """

    @functools.wraps(method)
    def called(store: S, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + store.patience_seconds
        told = False
        while True:
            try:
                return method(store, *args, **kwargs)
            except ServiceUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                if not told:
                    store.say(f"{error.what}; waiting for it, at most {store.patience_seconds:.0f} s")
                    told = True
            with contextlib.suppress(ServiceUnavailable):
                store.revive()
            time.sleep(RETRY_SECONDS)

    return called
