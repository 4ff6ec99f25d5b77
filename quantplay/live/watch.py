"""Every endpoint looked at, one after the other: a fault at one keeps no other from being judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantplay.errors import InputError, QuantplayError
from quantplay.live.tick import Look, look
from quantplay.store.registry import Store


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One endpoint after a look at it."""

    endpoint: str
    look: Look | None = None  # None: the quantized model serves nobody there, or the fault kept it from being judged
    fault: QuantplayError | None = None

    @property
    def action(self) -> str:
        if self.fault is not None:
            return "fault"
        return "nobody" if self.look is None else self.look.verdict.action


def endpoints(store: Store, named: str | None = None) -> tuple[str, ...]:
    """Names of all endpoints, or the one that is `named`. Raises InputError where there is none of that name."""
    names = tuple(policy.endpoint for policy in store.traffic_policies())
    if named is None:
        return names
    if named not in names:
        raise InputError(
            "there is no such endpoint", value=named, allowed=", ".join(names) or "none yet",
            fix="`quantplay release PACKAGE --endpoint NAME` makes one",
        )  # fmt: skip
    return (named,)


def look_around(store: Store, names: Sequence[str], now: int | None = None) -> list[Watched]:
    """Judge each of them; now: seconds since 1970."""
    found = []
    for name in names:
        try:
            found.append(Watched(endpoint=name, look=look(store, name, now)))
        except QuantplayError as error:
            found.append(Watched(endpoint=name, fault=error))
    return found
