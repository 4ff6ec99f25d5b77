"""From a package that may be released to a policy in force: both arms named, the way back written down before anybody is served."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from quantplay.errors import InputError
from quantplay.live.release_check import Facts
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.store.registry import Store

LEASE_SECONDS = 60


def revision_of(
    facts: Facts, endpoint: str, *, full_precision: ServedArm, quantized: ServedArm, steps: Sequence[float], sampling: float = 0
) -> PolicyRevision:  # fmt: skip
    """The policy of a package. Raises InputError where an arm is to serve another file than the package names."""
    wrong = [
        (name, arm.artifact, meant)
        for name, arm, meant in (
            ("quantized", quantized, facts.artifact),
            ("full precision", full_precision, facts.full_precision),
        )
        if arm.artifact != meant
    ]
    if wrong:
        name, found, meant = wrong[0]
        raise InputError(f"the {name} arm is to serve another file than the package's", value=found, allowed=meant)
    return PolicyRevision(
        endpoint=endpoint, package=facts.manifest, full_precision=full_precision, quantized=quantized, steps=tuple(sorted(set(steps))),
        salt=f"{endpoint} {facts.manifest[:16]}", sampling=sampling, rules=facts.rules, decode_ratio=facts.decode_ratio,
    )  # fmt: skip


def release(store: Store, policy: PolicyRevision, *, weight: float, actor: str, reason: str) -> tuple[int, int]:
    """Put a new revision in force as a canary with this share of conversations; its number and the pointer's version.

    Whatever was in force at the endpoint is replaced. Raises Conflict where another controller is at work there.
    """
    endpoint, holder = policy.endpoint, holder_name()
    epoch = store.take_lease(endpoint, holder, LEASE_SECONDS)
    try:
        now = store.traffic_policies(endpoint)
        number = store.add_policy(policy, actor)
        version = store.point(
            endpoint, revision=number, state="canary", weight=weight, epoch=epoch, expected=now[0].version if now else None,
            actor=actor, reason=reason,
        )  # fmt: skip
    finally:
        store.give_lease(endpoint, holder)
    store.append_event(
        actor,
        "traffic.released",
        endpoint,
        {"revision": number, "package": policy.package, "weight": weight, "version": version},
    )
    return number, version


def roll_back(store: Store, endpoint: str, *, actor: str, reason: str) -> int | None:
    """Everybody back to full precision. One row decides; the event is written after, and nothing waits for it."""
    version = store.roll_back(endpoint, actor=actor, reason=reason)
    if version is not None:
        store.append_event(actor, "traffic.rolled_back", endpoint, {"version": version, "reason": reason})
    return version


def holder_name() -> str:
    """Of a lease: this process."""
    return f"{socket.gethostname()} {os.getpid()}"
