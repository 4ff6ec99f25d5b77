"""Pools, workers, deployments and automations as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantplay.cli.render import table_of

if TYPE_CHECKING:
    from rich.console import Group

    from flows.up import Platform


def pools_table(platform: Platform) -> Group:
    rows = [
        [pool.name, str(pool.limit), ", ".join(pool.queues), "\n".join(pool.workers) or "none: quantplay worker --pool " + pool.name]
        for pool in platform.pools
    ]  # fmt: skip
    return table_of(
        "Work pools",
        [("pool", "left"), ("at once", "right"), ("queues, first first", "text"), ("workers", "text")],
        rows,
    )


def deployments_table(platform: Platform) -> Group:
    """Deployments, then automations: what starts by hand, by the clock and by itself."""
    rows = [
        [one.name, f"{one.pool}, {one.queue}", "paused" if one.paused else f"cron {one.schedule}" if one.schedule else "when asked"]
        for one in platform.deployments
    ]  # fmt: skip
    rows += [[name, "automation", "on" if enabled else "off"] for name, enabled in platform.automations]
    return table_of("Deployments and automations", [("name", "text"), ("pool, queue", "left"), ("runs", "text")], rows)
