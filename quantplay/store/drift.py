"""What gateways counted of a day's conversations (live/gateway/watch.py), over all of an endpoint's revisions and gateways."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.store import tables


def day_sums(connection: Connection, endpoint: str, day: date, prefix: str) -> dict[str, int]:
    """Counter -> sum, of those whose name begins with `prefix` and whose minute is the day's first, UTC."""
    counted, policies = tables.live_counters, tables.policies
    minute = int(datetime.combine(day, time(), UTC).timestamp()) // 60
    query = (
        sa.select(counted.c.name, sa.func.sum(counted.c.value))
        .join(policies, (policies.c.endpoint == counted.c.endpoint) & (policies.c.revision == counted.c.revision))
        .where(policies.c.endpoint == endpoint, counted.c.minute == minute, sa.func.starts_with(counted.c.name, prefix))
        .group_by(counted.c.name)
    )
    return {name: int(value) for name, value in connection.execute(query)}
