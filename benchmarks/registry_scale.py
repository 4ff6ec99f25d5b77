"""The registry with a thousand locked models: `python -m benchmarks.registry_scale [--quick]`.

A PostgreSQL of its own is filled through the Store with the records that locked runs leave, of the weight that real models' have:
a dozen slices, hundreds of tensors, hundreds of hardest items; on three machines, every second one measured again, every tenth with
a name. Then what the commands do is asked again and again: the look-up with how each package stands, its table as text, its JSON, and the look-up at
the start of a run; and the web pages, over HTTP. What the processor's description costs a command once (a child process) is told beside. --quick: sixty models.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from rich.console import Console

from benchmarks.live_lab import ground
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.adoption import adoption, read_source
from quantplay.cli.packages import body_of, packages_table
from quantplay.cli.registry_history import history_table
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.plays.catalogue import Listed, data_frame, stood
from quantplay.plays.in_full import gathered
from quantplay.plays.reuse import offers
from quantplay.records import Fingerprint, Revalidation
from quantplay.store.catalogue import Wanted
from quantplay.store.registry import Store
from quantplay.web.app import Site
from tests.locked_models import TYPES, lock_model
from tests.store import store_samples as samples
from tests.web_server import served

MODELS, BASES = 1000, 100
LIMIT_MS = 300.0
CHIPS = ("AMD EPYC", "Intel Xeon", "Graviton")
NOW = datetime.now(UTC)


def stack_of(number: int) -> Fingerprint:
    hardware = samples.FINGERPRINT.hardware.model_copy(update={"cpu": CHIPS[number % len(CHIPS)]})
    software = samples.FINGERPRINT.software.model_copy(
        update={"packages": {f"package-{n}": "1.2.3" for n in range(20)}}
    )
    return samples.FINGERPRINT.model_copy(update={"hardware": hardware, "software": software})


HERE = stack_of(0)


def filled(store: Store, models: int) -> list[str]:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in (
            "fsync = off",
            "full_page_writes = off",
        ):  # while it is filled: nothing here has to survive a power cut
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting}"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    kinds, made = list(TYPES), []
    for number in range(models):
        key = lock_model(
            store, f"team-{number}", model=f"org/model-{number % BASES}", kind=kinds[number // BASES % len(kinds)],
            on=stack_of(number), drop=number % 17 / 10, bulk=12, plan={"use_case": f"Answers question {number} of customers"},
        )  # fmt: skip
        made.append(key)
        if number % 2:
            store.put_revalidation(again(key, number), samples.evaluation(3))
        if number % 10 == 0:
            store.set_alias(f"team-{number}/production", key, actor="benchmark", reason="a benchmark")
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))  # as autovacuum leaves it
    return made


def again(package: str, number: int) -> Revalidation:
    measured, stack = samples.evaluation(), stack_of(number)
    return Revalidation(
        package=package, artifact=samples.digest("artifact"), evaluation=samples.digest("evaluation"), trigger="by hand",
        at=NOW.isoformat(), status="confirmed", reasons=("All is as it was.",), stack_then=stack.digest(), stack_now=stack.digest(),
        stack=stack, changes=(), harness_then=samples.digest("harness"), harness_now=samples.digest("harness"),
        measured=samples.digest(["again", number]), items=3, lost=0, won=0, responses_changed=0, slices=(), against_baseline="pass",
        envelope=(), alarms=(), divergence_then=measured.divergence, divergence_now=measured.divergence,
        performance_then=measured.performance, performance_now=measured.performance,
    )  # fmt: skip


def asked(store: Store, keys: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and question. What a person sees counts with it: the table as text, the JSON."""
    middle = keys[len(keys) // 2]
    entry = store.package_named(middle)
    plan = store.get_plan(entry.plan)
    assert plan is not None
    assert entry.base is not None
    base = entry.base

    def found(**wanted: Any) -> tuple[Listed, ...]:
        return stood(store.find_packages(Wanted(**wanted)), HERE, NOW)

    yield "list, the newest hundred", lambda: found(limit=101)
    yield "list --json, the newest hundred", lambda: json.dumps([body_of(one) for one in found(limit=101)])
    yield "list --type", lambda: found(type="Q4_K_M")
    yield "find --base", lambda: found(base=base[:12])
    yield "find TEXT, one", lambda: told(found(text=f"question {len(keys) // 2} of"))
    yield "find --hardware --bits", lambda: found(hardware="xeon", bits=4)
    yield "find --use-case, none", lambda: found(use_case="nobody asks this")
    yield "by alias", lambda: store.package_named("team-0/production")
    yield "show", lambda: gathered(store, found(key=middle)[0])
    yield "history", lambda: history_table("m", store.model_history(base[:12]))
    yield "reuse, at the start of a run", lambda: offers(found(base=base, runtime="llama.cpp"), plan, HERE.hardware)


def pages(get: Callable[[str], None], keys: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The same as a browser asks."""
    middle = keys[len(keys) // 2]
    for name, address in {
        "page: models": "/", "page: models after the middle": f"/?after={middle}", "page: search, one": f"/?text=question+{len(keys) // 2}+of",
        "page: search, none": "/?text=nobody", "page: type and bits": "/?type=Q4_K_M&bits=4", "page: state, all are": "/?state=confirmed",
        "page: state, none is": "/?state=regressed", "page: one package": f"/packages/{middle}", "page: funnel": "/funnel",
        "page: incidents": "/incidents", "page: to sign": "/sign", "page: endpoints": "/endpoints",
        "page: adoption": "/adoption",
    }.items():  # fmt: skip
        yield name, partial(get, address)


def told(found: tuple[Listed, ...]) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(packages_table(found, 160))
    return out.getvalue()


def measured(question: Callable[[], Any], times: int) -> tuple[float, float, float]:
    """Median, 95th percentile and most, in ms; the first time is not counted."""
    question()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        question()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found), statistics.quantiles(found, n=20, method="inclusive")[-1], max(found)


def timed(question: Callable[[], Any]) -> float:
    began = time.perf_counter()
    question()
    return round(time.perf_counter() - began, 2)


def main() -> int:
    quick = quick_asked()
    models, times = (60, 5) if quick else (MODELS, 40)
    with ground() as here, here.store() as store:
        began = time.monotonic()
        keys = filled(store, models)
        seconds = time.monotonic() - began
        found = [(name, *measured(question, times)) for name, question in asked(store, keys)]
        site = Site(open=lambda: store, owners=Path("owners.yaml"), reports=Path("reports"))
        with served(site) as url, httpx.Client(base_url=url) as client:

            def get(address: str) -> None:
                client.get(address).raise_for_status()

            found += [(name, *measured(question, times)) for name, question in pages(get, keys)]
        everything = stood(store.find_packages(), HERE, NOW)
        beside = {
            "all_that_there_are_seconds": timed(lambda: stood(store.find_packages(), HERE, NOW)),
            "table_of_all_seconds": timed(lambda: told(everything)),
            "data_frame_seconds": timed(lambda: data_frame(everything)),
            "adoption_when_no_look_is_kept_seconds": timed(lambda: adoption(store, read_source(None, None, NOW), NOW)),
            "stack_of_this_machine_seconds": timed(lambda: measure_fingerprint(1)),
        }
    assert len(everything) == models
    print_table(("question", "ms median", "ms p95", "ms most"), found)
    worst = max(found, key=lambda row: row[2])
    reuse = next(row for row in found if row[0].startswith("reuse"))
    goals = {
        "slowest question, p95": at_most(worst[2], LIMIT_MS, "ms"),
        "reuse look-up, p95": at_most(reuse[2], LIMIT_MS, "ms"),
    }
    figures = {"models": models, "seconds_to_fill": round(seconds), "slowest": worst[0], **beside}
    return finish("registry_scale", figures | {row[0]: round(row[2], 1) for row in found}, goals)


if __name__ == "__main__":
    sys.exit(main())
