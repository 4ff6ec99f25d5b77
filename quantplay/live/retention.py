"""How long play 8 keeps what: to be called about once an hour, by whoever looks after the judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from quantplay.store.registry import Store

MINUTES = timedelta(days=1)  # then hours
HOURS = timedelta(days=90)
REQUESTS = timedelta(days=30)  # of single requests


def tidy(store: Store, now: datetime | None = None) -> int:
    """Roll up and forget; again changes nothing. Returns how many days of request rows went. What the judge goes by is never touched."""
    now = now or datetime.now(UTC)
    store.roll_up_live(minute_of(now - MINUTES))
    store.thin_out_judgements(hourly_before=now - MINUTES, none_before=now - HOURS)
    return store.forget_live(requests_before=(now - REQUESTS).date(), minutes_before=minute_of(now - HOURS))


def minute_of(moment: datetime) -> int:
    return int(moment.timestamp() // 60)
