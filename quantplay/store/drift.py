"""What gateways counted of a day's conversations (live/gateway/watch.py), and which prompts they kept, over all revisions."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

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


def day_texts(connection: Connection, endpoint: str, day: date, most: int) -> list[str]:
    """Prompts that were stored, redacted, because the policy asks for a sample: at most so many, by the answer's id."""
    table, begin = tables.live_requests, datetime.combine(day, time(), UTC)
    query = sa.select(table.c.text).where(
        table.c.at >= begin, table.c.at < begin + timedelta(days=1), table.c.endpoint == endpoint, table.c.text.is_not(None)
    )  # fmt: skip
    return list(connection.scalars(query.order_by(table.c.id).limit(most)))
