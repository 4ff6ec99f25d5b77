"""`quantplay traffic [NAME]`: what is in force, and how it came about."""

from __future__ import annotations

import json as json_library
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantplay.records.traffic import TrafficPolicy
    from quantplay.store.gateways import GatewaySeen
    from quantplay.store.traffic import Change


def command(endpoint: str | None = None, json: bool = False) -> int:
    from quantplay.cli.console import console
    from quantplay.cli.render import table_of
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        policies = store.traffic_policies(endpoint)
        changes = store.traffic_changes(endpoint) if endpoint is not None else ()
        gateways = store.gateways_seen()
    if json:
        told = {
            "policies": [one.body() for one in policies],
            "changes": [change_body(one) for one in changes],
            "gateways": [vars(one) for one in gateways],
        }
        print(json_library.dumps(told, indent=2))
        return 0
    columns = [
        ("endpoint", "text"),
        ("revision", "right"),
        ("state", "left"),
        ("share", "right"),
        ("quantized", "text"),
        ("full precision", "text"),
    ]
    console().print(table_of("In force", columns, [row(one) for one in policies]))
    if gateways:
        columns = [("gateway", "text"), ("last seen", "right"), ("on an old policy at", "text")]
        rows = [[one.name, f"{one.seconds_ago:.0f} s ago", ", ".join(behind(one, policies))] for one in gateways]
        console().print(table_of("Gateways", columns, rows))
    if endpoint is not None:
        rows = [[f"{one.at:%Y-%m-%d %H:%M:%S}", str(one.revision), said(one), one.actor, one.reason] for one in changes]
        columns = [("when", "text"), ("revision", "right"), ("what", "left"), ("who", "left"), ("why", "text")]
        console().print(table_of(f"How {endpoint} came there", columns, rows))
    return 0


def row(policy: TrafficPolicy) -> list[str]:
    quantized = policy.quantized.url if policy.quantized is not None else "nobody"
    state = f"{policy.state.replace('_', ' ')}{', switched off' if policy.kill else ''}"
    return [
        policy.endpoint,
        str(policy.revision),
        state,
        f"{100 * policy.share:g} %",
        quantized,
        policy.full_precision.url,
    ]


def behind(gateway: GatewaySeen, policies: Sequence[TrafficPolicy]) -> list[str]:
    """Endpoints at which it still went by an older policy when it was last seen."""
    return [one.endpoint for one in policies if gateway.versions.get(one.endpoint, 0) < one.version]


def said(change: Change) -> str:
    return f"{change.state.replace('_', ' ')}, {100 * change.weight:g} %{', switched off' if change.kill else ''}"


def change_body(change: Change) -> dict[str, object]:
    return {**vars(change), "at": change.at.isoformat()}
