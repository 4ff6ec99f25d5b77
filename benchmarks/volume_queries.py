"""Play 8's queries where much was counted: `python -m benchmarks.volume_queries [--quick]`.

A PostgreSQL of its own holds what 100 million requests of 30 days leave behind, at four endpoints behind two gateways, the arms even: minutes of the last 25
hours, which is the most before they become hours; hours for the rest; the sums of forty gateway processes since the release, which the judge goes by; and
10 million rows of single requests. The counters are drawn as those gateways would write them: a row for each bucket and signal that came up in
a minute. --quick: a hundredth of the requests. Then the judge's look, the store's own queries and every query of the dashboards are asked, each
several times, the first not counted.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.live_lab import arms, ground, released
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.live.tick import look
from quantplay.store.registry import Store
from quantplay.store.retention import HOURS
from quantplay.store.telemetry import ensure_day
from tests.grafana_queries import Asked, queries, sql_of

ENDPOINTS = tuple(f"endpoint-{n}" for n in range(4))
ARMS = ("quantized", "full_precision")
GATEWAYS, PROCESSES = 2, 40
DAYS, MINUTE_HOURS = 30, 25
REQUESTS, RAW_ROWS = 100_000_000, 10_000_000
TICK_MS, QUERY_MS = 100.0, 300.0
WINDOWS = {"6 hours": (6 * 3600, 60), "1 day": (86_400, 120), "30 days": (30 * 86_400, 3600)}
BOTH = arms("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
SHARES = {
    "conversations": 0.5,
    "requests": 1.0,
    "tokens": 200.0,
    "thumbs_up": 0.02,
    "error": 0.002,
    "thumbs_down": 0.01,
    "escalation": 0.01,
    "downstream_error": 0.005,
    "slow_first_token": 0.01,
    "other_arm": 0.001,
}  # of a request
HISTOGRAMS = {"ttft": (300.0, 0.45, 1.0), "decode": (20.0, 0.15, 0.5)}  # median ms, sd of its logarithm, a request


def shape() -> dict[str, float]:
    """Counter -> how much of it a request brings."""
    found = dict(SHARES)
    for name, (median, spread, each) in HISTOGRAMS.items():
        middle, width = 8 * math.log2(median), 8 * spread / math.log(2)
        law = statistics.NormalDist(middle, width)
        for bucket in range(int(middle - 5 * width), int(middle + 5 * width) + 1):
            found[f"{name}:{bucket}"] = each * (law.cdf(bucket + 0.5) - law.cdf(bucket - 0.5))
    return found


def filled(store: Store, now: datetime, requests: int, raw_rows: int) -> None:
    for name in ENDPOINTS:
        for _ in range(3):  # a history
            released(store, name, BOTH, weight=0.05)
        released(store, name, BOTH, weight=0.5)
    a_minute = requests / DAYS / 1440 / len(ENDPOINTS) / len(ARMS)  # of an endpoint and arm
    last = int(now.timestamp() // 60)
    edge = (last - MINUTE_HOURS * 60) // 60 * 60
    with store.engine.begin() as connection:
        connection.execute(sa.text("CREATE TEMP TABLE shape (name text, each double precision)"))
        rows = [{"name": name, "each": each} for name, each in shape().items()]
        connection.execute(sa.text("INSERT INTO shape VALUES (:name, :each)"), rows)
        connection.execute(sa.text("CREATE TEMP TABLE endpoints AS SELECT unnest(CAST(:names AS text[])) AS endpoint"),
                           {"names": [*ENDPOINTS]})  # fmt: skip
        connection.execute(
            sa.text("CREATE TEMP TABLE arms AS SELECT unnest(CAST(:names AS text[])) AS arm"), {"names": [*ARMS]}
        )
        # The zero names every table, or the planner would draw once a counter and not once a row.
        draw = """INSERT INTO quantplay.live_counters
            SELECT endpoint, 4, minute, arm, name, CAST({source} AS uuid), greatest(1, round(each * :times * (0.7 + 0.6 * random())))
            FROM generate_series(CAST(:first AS int), CAST(:last AS int), CAST(:step AS int)) AS minute,
                 generate_series(1, CAST(:sources AS int)) AS number, endpoints, arms, shape
            WHERE random() + 0 * (minute + number + length(endpoint) + length(arm)) < 1 - exp(-least(each * :times, 50))
            ORDER BY endpoint, minute, arm, name"""
        process = "lpad(to_hex(number), 32, '0')"
        for source, first, end, step, sources, times in (
            (process, edge, last - 1, 1, GATEWAYS, a_minute / GATEWAYS),
            (f"'{HOURS}'", edge - (DAYS * 24 - MINUTE_HOURS) * 60, edge - 60, 60, 1, a_minute * 60),
            (process, 0, 0, 1, PROCESSES, a_minute * DAYS * 1440 / PROCESSES),
        ):
            told = {"first": first, "last": end, "step": step, "sources": sources, "times": times}
            connection.execute(sa.text(draw.format(source=source)), told)
    start = now - timedelta(days=DAYS)
    with store.engine.begin() as connection:
        for day in range(DAYS + 1):
            ensure_day(connection, (start + timedelta(days=day)).date())
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("""INSERT INTO quantplay.live_requests
                SELECT CAST(:start AS timestamptz) + number * CAST(:step AS interval), 'chatcmpl-' || md5(number::text),
                    'endpoint-' || number % 4, 4, arm, CASE WHEN random() < 0.999 THEN arm ELSE 'full_precision' END,
                    CASE WHEN random() < 0.998 THEN 200 ELSE 502 END, 300, 200, 300 * exp(random() - 0.5), 4000 * exp(random() - 0.5), 'stop', NULL
                FROM generate_series(0, :count - 1) AS number,
                    LATERAL (SELECT CASE WHEN number / 4 % 2 = 0 THEN 'quantized' ELSE 'full_precision' END AS arm) AS assigned"""),
            {"start": start, "step": timedelta(days=DAYS) / raw_rows, "count": raw_rows},
        )  # fmt: skip


def judged(store: Store, now: datetime) -> None:
    """One real look an endpoint, and its words again for every minute and hour of the past that is kept."""
    for name in ENDPOINTS:
        seen = look(store, name)
        assert seen is not None
    with store.engine.begin() as connection:
        for hours, step in ((24 * DAYS, "1 hour"), (MINUTE_HOURS, "1 minute")):
            connection.execute(
                sa.text("""INSERT INTO quantplay.live_judgements
                    SELECT endpoint, revision, moment, verdict FROM quantplay.live_judgements,
                        generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz), CAST(:step AS interval)) AS moment
                    WHERE at > :last ON CONFLICT DO NOTHING"""),
                {"first": now - timedelta(hours=hours), "last": now, "step": step},
            )  # fmt: skip


def settle(store: Store) -> None:
    """As autovacuum leaves it; nothing here has to survive a power cut."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def asked(store: Store, now: datetime) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Kind, name and the question."""
    name, minute = ENDPOINTS[1], int(now.timestamp() // 60)
    yield "judge", "the judge's look at an endpoint", lambda: looked(store, name)
    yield "store", "policies in force", store.traffic_policies
    yield "store", "changes of an endpoint", lambda: store.traffic_changes(name)
    yield "store", "sums of a revision", lambda: store.live_totals(name, 4)
    for hours in (1, 6):
        yield (
            "store",
            f"all minutes of {hours} hours",
            lambda hours=hours: store.live_minutes(name, 4, minute - 60 * hours),
        )
    yield "store", "last judgement", lambda: store.judgements(name, 4, newest=1)
    yield "store", "last 100 judgements", lambda: store.judgements(name, 4, newest=100)
    yield "store", "gateways", store.gateways_seen
    slow = (
        "SELECT * FROM quantplay.live_requests WHERE endpoint = :name AND at > :since ORDER BY total_ms DESC LIMIT 100"
    )
    failed = "SELECT date_trunc('hour', at), status, count(*) FROM quantplay.live_requests WHERE endpoint = :name AND at > :since GROUP BY 1, 2"

    def raw(text: str, **told: Any) -> list[Any]:
        with store.engine.connect() as connection:
            return (
                [*connection.execute(sa.text(text), {"name": name, **told})]
                if told
                else [*connection.exec_driver_sql(text)]
            )

    yield "requests", "slowest 100 requests of an hour", lambda: raw(slow, since=now - timedelta(hours=1))
    yield "requests", "statuses of a day, by hour", lambda: raw(failed, since=now - timedelta(days=1))
    for window, (seconds, interval) in WINDOWS.items():
        look_at = Asked(
            start=int(now.timestamp()) - seconds, end=int(now.timestamp()), interval=interval,
            variables={"endpoint": name, "revision": "4", "signal": "thumbs_down"},
        )  # fmt: skip
        for query in queries("grafana-postgresql-datasource"):
            if query.board.startswith("live"):
                text = sql_of(query.text, look_at).replace("%", "%%")
                yield "dashboard", f"{query.title} {query.ref}, {window}", lambda text=text: raw(text)


def main() -> int:
    quick = quick_asked()
    times = 5 if quick else 20
    part = 100 if quick else 1
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
    with ground() as here, here.store() as store:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '4GB'"):
                connection.execute(sa.text(f"ALTER SYSTEM SET {setting}"))  # while it is filled
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        began = time.monotonic()
        filled(store, now, REQUESTS // part, RAW_ROWS // part)
        settle(store)
        judged(store, now)
        settle(store)
        seconds = time.monotonic() - began
        sizes = sized(store)
        found = [
            (kind, name, *measured(question, times, store if kind == "judge" else None))
            for kind, name, question in asked(store, now)
        ]
    print_table(
        ("question", "kind", "ms median", "ms most"), [(name, kind, mid, most) for kind, name, mid, most in found]
    )
    worst = {
        kind: max((mid, name) for k, name, mid, _ in found if k == kind)
        for kind in ("judge", "store", "requests", "dashboard")
    }
    goals = {"the judge's look": at_most(worst["judge"][0], TICK_MS, "ms")}
    goals |= {
        f"slowest of {kind}": at_most(worst[kind][0], QUERY_MS, "ms") for kind in ("store", "requests", "dashboard")
    }
    return finish(
        "volume_queries",
        {**sizes, "seconds_to_fill": round(seconds), "slowest": {kind: name for kind, (_, name) in worst.items()}},
        goals,
    )


def looked(store: Store, name: str) -> None:
    seen = look(store, name)
    assert seen is not None
    assert seen.verdict.action != "rollback"


def counted_more(store: Store) -> None:
    """A conversation more an endpoint, so that the judge has something to look at."""
    with store.engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE quantplay.live_counters SET value = value + 1 WHERE minute = 0 AND name = 'conversations' "
                "AND source = '00000000-0000-0000-0000-000000000001'"
            )
        )
    time.sleep(1)  # the judge's clock has whole seconds


def measured(question: Callable[[], Any], times: int, counted: Store | None) -> tuple[float, float]:
    """Median and most, in ms; the first time is not counted. counted: where something is to be counted before each time."""
    question()
    found = []
    for _ in range(times):
        if counted is not None:
            counted_more(counted)
        began = time.perf_counter()
        question()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found), max(found)


def sized(store: Store) -> dict[str, Any]:
    with store.engine.connect() as connection:

        def one(text: str) -> int:
            return int(connection.scalar(sa.text(text)) or 0)

        hours = f"source = '{HOURS}'"
        return {
            "requests_counted": one("SELECT sum(value) FROM quantplay.live_counters WHERE minute > 0 AND name = 'requests'"),
            "of_them_in_hours": one(f"SELECT sum(value) FROM quantplay.live_counters WHERE {hours} AND name = 'requests'"),
            "minute_rows": one(f"SELECT count(*) FROM quantplay.live_counters WHERE minute > 0 AND NOT {hours}"),
            "hour_rows": one(f"SELECT count(*) FROM quantplay.live_counters WHERE {hours}"),
            "sum_rows": one("SELECT count(*) FROM quantplay.live_counters WHERE minute = 0"),
            "request_rows": one("SELECT count(*) FROM quantplay.live_requests"),
            "judgements": one("SELECT count(*) FROM quantplay.live_judgements"),
            "database_mib": one("SELECT pg_database_size(current_database())") // 2**20,
        }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
