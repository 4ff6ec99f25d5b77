"""Ten minutes without the product database, under traffic: `python -m benchmarks.db_outage [--quick]`.

A gateway on a PostgreSQL of its own answers ten requests a second, half of them by the quantized model, and each of those gets a thumbs-down. The
database is stopped for ten minutes and started again. No request may fail; the quantized model answers on until the policies are 300 s old and not
after; and in the end the counters are exactly what the clients counted. --quick: the bound is 5 s, the outage 12 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from benchmarks.gateway_lab import upstream
from benchmarks.live_lab import Asked, Clients, Ground, arms, free_port, gateway_service, ground, released, until_ready
from benchmarks.report import Goal, at_least, at_most, finish, print_table, quick_asked
from quantplay.live.gateway.database import READ_AGAIN_SECONDS
from quantplay.live.gateway.limits import Limits
from quantplay.store.embedded import start_embedded, stop_embedded
from quantplay.store.registry import Store

NAME = "chat"
RATE = 10.0
BEFORE_SECONDS, AFTER_SECONDS = 5.0, 15.0
SLACK_SECONDS = 2.0  # between two requests of one arm, and to stop a database


def gateway(stale_seconds: float, port: int) -> None:
    """As `quantplay gateway`, with the bound on the age of its policies told."""
    from quantplay.cli.gateway import database
    from quantplay.live.gateway.database import DatabaseOthers, DatabaseSink, DatabaseSource
    from quantplay.live.gateway.serve import serve
    from quantplay.settings import settings

    here = settings()
    opened = database(here)
    asyncio.run(
        serve(
            DatabaseSource(open=opened), DatabaseSink(open=opened), others=DatabaseOthers(open=opened), host="127.0.0.1", port=port,
            snapshot=here.home / "gateway" / f"policies-{port}.json", limits=Limits(stale_seconds=stale_seconds),
        )
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outage:
    """Moments of the monotonic clock."""

    begun: float  # to stop it
    stopped: float
    started: float  # it answers again


def disturbed(here: Ground, clients: Clients, seconds: float) -> Outage:
    time.sleep(BEFORE_SECONDS)
    begun = time.monotonic()
    stop_embedded(here.home)
    stopped = time.monotonic()
    time.sleep(seconds)
    start_embedded(here.home)
    started = time.monotonic()
    time.sleep(AFTER_SECONDS)
    clients.ended.set()
    clients.join()
    return Outage(begun=begun, stopped=stopped, started=started)


def differences(store: Store, revision: int, clients: Clients) -> Iterator[str]:
    """Between what clients counted and what the database holds."""
    counted = Counter[tuple[str, str]]()
    for one in clients.asked:
        if one.assigned is not None:
            counted.update([(one.assigned, "conversations"), (one.assigned, "requests")])
    counted["quantized", "thumbs_down"] = clients.told.count(200)
    totals = store.live_totals(NAME, revision)
    minutes = Counter[tuple[str, str]]()
    for told in store.live_minutes(NAME, revision).values():
        minutes.update(told)
    for key in sorted(counted):
        if not counted[key] == totals.get(key) == minutes[key]:
            yield f"{key}: clients {counted[key]}, sum {totals.get(key)}, minutes {minutes[key]}"
    for key in sorted(totals):
        if key[1] in ("error", "other_arm"):
            yield f"{key}: {totals[key]}"


def main() -> int:
    if sys.argv[1:2] == ["gateway"]:
        gateway(float(sys.argv[2]), int(sys.argv[4]))
        return 0
    quick = quick_asked()
    stale, seconds = (5.0, 12.0) if quick else (300.0, 600.0)
    with ground() as here, contextlib.ExitStack() as stack:
        full, small = (stack.enter_context(upstream(arm, "model")) for arm in ("full_precision", "quantized"))
        port = free_port()
        with here.store() as store:
            revision, _ = released(store, NAME, arms(full.url, small.url), weight=0.5)
        with gateway_service(here, port, "-m", "benchmarks.db_outage", "gateway", str(stale)) as through:
            until_ready(port)
            with Clients(port=port, endpoints=(NAME,), rate=RATE, unhappy=NAME) as clients:
                outage = disturbed(here, clients, seconds)
            ended = through.end()
            told = through.told()
        with here.store() as store:
            wrong = list(differences(store, revision, clients))
            with store.engine.connect() as connection:
                rows = connection.scalar(sa.text("SELECT count(*) FROM quantplay.live_requests")) or 0
    return reported(clients, outage, stale, wrong, rows, ended, told)


def reported(
    clients: Clients, outage: Outage, stale: float, wrong: list[str], rows: int, ended: int | None, told: str
) -> int:
    def quantized(asked: list[Asked]) -> list[float]:
        return [one.began for one in asked if one.served == "quantized"]

    asked = clients.asked
    failed = [one for one in asked if one.status != 200]
    away = [one for one in asked if outage.begun <= one.began < outage.started]
    last = max(quantized(away), default=outage.begun)
    back = [moment for moment in quantized(asked) if moment >= outage.started]
    statuses = Counter(one.status for one in asked)
    for line in wrong:
        print(line)
    if "Traceback" in told:
        print(told[-4000:])
    figures = {
        "requests": len(asked), "while_away": len(away), "answers": {str(code): n for code, n in statuses.items()},
        "thumbs_down": len(clients.told), "request_rows": rows, "outage_seconds": round(outage.started - outage.stopped, 1),
        "last_quantized_after_seconds": round(last - outage.stopped, 2),
        "first_quantized_again_after_seconds": round(min(back, default=float("inf")) - outage.started, 2) if back else -1,
    }  # fmt: skip
    print_table(("figure", "value"), list(figures.items()))
    goals: dict[str, Goal] = {
        "requests that failed": at_most(len(failed), 0),
        "feedback that failed": at_most(sum(status != 200 for status in clients.told), 0),
        "quantized at the latest after the stop": at_most(last - outage.stopped, stale, "s"),
        "quantized at least until": at_least(last - outage.begun, stale - READ_AGAIN_SECONDS - SLACK_SECONDS, "s"),
        "quantized again afterwards": at_least(len(back), 1),
        "counters that differ": at_most(len(wrong), 0),
        "faults in the gateway": at_most(int("Traceback" in told or ended != 0), 0),
    }
    return finish("db_outage", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
