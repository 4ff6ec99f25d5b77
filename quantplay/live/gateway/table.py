"""The policies in force, and which arms a request may go to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from quantplay.records.traffic import ServedArm, ServedBy, TrafficPolicy

log = logging.getLogger("quantplay.gateway")


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Where one request goes. It keeps this to its end, whatever the policy becomes."""

    policy: TrafficPolicy
    assigned: ServedBy


class Table:
    """Policies by endpoint, replaced as a whole; requests under way hold the policy they began with."""

    def __init__(self, stale_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_seconds, self.clock = stale_seconds, clock
        self.policies: Mapping[str, TrafficPolicy] = {}
        self.newest: dict[str, int] = {}  # highest version seen of each endpoint, also of one that is gone
        self.confirmed_at: float | None = None

    def apply(self, read: Iterable[TrafficPolicy], *, age: float = 0) -> bool:
        """Take what was read `age` seconds ago; true where it changed something. An older version never replaces a newer one."""
        found: dict[str, TrafficPolicy] = {}
        for policy in read:
            name = policy.endpoint
            if policy.version >= self.newest.get(name, 0):
                found[name] = policy
                self.newest[name] = policy.version
            else:
                log.warning("%s: version %d was read after %d and is left", name, policy.version, self.newest[name])
                if name in self.policies:
                    found[name] = self.policies[name]
        confirmed = self.clock() - age
        self.confirmed_at = max(confirmed, self.confirmed_at or confirmed)
        if found == self.policies:
            return False
        for name in found.keys() | self.policies.keys():
            if found.get(name) != self.policies.get(name):
                log.warning("%s: %s", name, told(found.get(name)))
        self.policies = found
        return True

    @property
    def stale(self) -> bool:
        return self.confirmed_at is None or self.clock() - self.confirmed_at > self.stale_seconds

    def route(self, endpoint: str, conversation: str) -> Route | None:
        policy = self.policies.get(endpoint)
        if policy is None:
            return None
        # Not known to be in force any more: nobody is assigned to the quantized model, so the judge compares nobody either.
        return Route(policy=policy, assigned="full_precision" if self.stale else policy.assigned(conversation))

    def arms(self) -> list[ServedArm]:
        """Every arm a policy names, also those without traffic: a ramp must not wait for a check."""
        policies = self.policies.values()
        return [arm for policy in policies for arm in (policy.full_precision, policy.quantized) if arm is not None]


def told(policy: TrafficPolicy | None) -> str:
    if policy is None:
        return "no longer served"
    return f"revision {policy.revision}, version {policy.version}, {policy.state}, {policy.share:.1%} to the quantized model"
