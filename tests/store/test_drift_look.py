"""Drift on a real database: days are learnt, compared and remembered, and a shift asks for re-validation on its second day."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
import store_samples as samples
from factories import made_package

from quantplay.digest import digest_of_file
from quantplay.errors import InputError
from quantplay.handoff.pack import write_package
from quantplay.live.drift.calibration import KEPT, calibration_fingerprint
from quantplay.live.drift.features import of_request, of_text
from quantplay.live.drift.fingerprint import Fingerprint, fingerprint_of
from quantplay.live.drift.look import LOOKED, findings, look_for_drift
from quantplay.live.release import release
from quantplay.records import MadeOf, Manifest
from quantplay.records.inputs import FileEntry
from quantplay.records.traffic import CounterRow, PolicyRevision, RequestRow, ServedArm
from quantplay.store.connect import make_engine, parse_url
from quantplay.store.registry import Store

NAME = "chat"
TODAY = datetime.now(UTC).date()
SOURCES = [str(UUID(int=n)) for n in (1, 2)]
PACKAGE = "c" * 64
ARMS = {
    "full_precision": ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64),
    "quantized": ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64),
}


def released(store: Store, days_ago: int, package: str = PACKAGE) -> int:
    """A revision of the endpoint as if it had been released so many days ago."""
    told = PolicyRevision(endpoint=NAME, package=package, salt="s", steps=(1.0,), **ARMS)
    number, version = release(store, told, weight=0.5, actor="tester", reason="a test")
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE quantplay.traffic_changes DISABLE TRIGGER USER"))
        at = datetime.now(UTC) - timedelta(days=days_ago)
        connection.execute(
            sa.text("UPDATE quantplay.traffic_changes SET at = :at WHERE version = :v"), {"at": at, "v": version}
        )
    return number


def counted(store: Store, day: date, found: Fingerprint, revision: int = 1) -> None:
    """As two gateways would have written it, and one of them twice."""
    minute = int(datetime.combine(day, time(), UTC).timestamp()) // 60
    for source, share in zip(SOURCES, halves(found), strict=True):
        rows = [
            CounterRow(source=source, endpoint=NAME, revision=revision, minute=minute, arm="full_precision", name=name, value=value)
            for name, value in share.items()
        ]  # fmt: skip
        store.write_live(rows)
        store.write_live(rows[:5])
    store.write_live([CounterRow(source=SOURCES[0], endpoint=NAME, revision=revision, minute=minute, arm="quantized", name="requests", value=9)])  # fmt: skip


def halves(found: Fingerprint) -> Iterator[Mapping[str, int]]:
    yield {name: value // 3 for name, value in found.counters().items()}
    yield {name: value - value // 3 for name, value in found.counters().items()}


def traffic(day: date, *, code: float = 0.02, many: int = 300) -> Fingerprint:
    dice = np.random.default_rng(day.toordinal())
    words = ["where", "is", "the", "order", "of", "this", "customer", "and", "how", "can", "you", "send", "it"]
    some = []
    for _ in range(many):
        text = " ".join(dice.choice(words, dice.geometric(1 / 30)))
        text += "\n```\nreturn 1\n```" if dice.random() < code else ""
        some.append(of_request({"messages": [{"role": "user", "content": text}]}, int(dice.geometric(1 / 50))))
    return fingerprint_of(some)


def month(store: Store, days: int = 20, shift_after: int | None = None) -> None:
    """Days up to yesterday; in the last `shift_after` of them nearly half of the conversations hold code."""
    for ago in range(days, 0, -1):
        day = TODAY - timedelta(days=ago)
        counted(store, day, traffic(day, code=0.45 if shift_after is not None and ago <= shift_after else 0.02))


def test_days_are_learnt_then_compared_and_a_shift_is_due_on_its_second_day(store: Store) -> None:
    released(store, 21)
    month(store, 20, shift_after=4)
    one_by_one = [look_for_drift(store, NAME, TODAY - timedelta(days=ago)) for ago in range(20, 0, -1)]
    assert [one.status for one in one_by_one] == [
        *["learning"] * 14,
        "usual",
        "usual",
        "unusual",
        "drift",
        "learning",
        "learning",
    ]
    assert [one.due for one in one_by_one].count(True) == 1
    drift = one_by_one[17]
    assert re.search(r"4\d % of conversations hold code, before 2\.\d %", " ".join(drift.reasons))
    assert drift.beyond >= {"form"}
    assert drift.conversations == drift.looked == 300
    assert len(store.events(kind=LOOKED, subject=NAME)) == 20
    assert findings(store, NAME) == one_by_one
    assert look_for_drift(store, NAME, TODAY - timedelta(days=3)) == drift  # asked again: the same, and no second event
    assert len(store.events(kind=LOOKED, subject=NAME)) == 20


def test_days_that_nobody_looked_at_are_looked_at_first(store: Store) -> None:
    released(store, 21)
    month(store, 20, shift_after=2)
    found = look_for_drift(store, NAME)
    assert (found.status, found.due) == ("drift", True)
    assert [one.status for one in findings(store, NAME)] == [*["learning"] * 14, *["usual"] * 4, "unusual", "drift"]


def test_what_counters_forget_findings_remember(store: Store) -> None:
    released(store, 21)
    month(store, 20, shift_after=1)
    look_for_drift(store, NAME, TODAY - timedelta(days=2))
    yesterday = int(datetime.combine(TODAY - timedelta(days=1), time(), UTC).timestamp()) // 60
    store.forget_live(requests_before=TODAY, minutes_before=yesterday)
    assert look_for_drift(store, NAME).status == "unusual"


def test_another_package_begins_anew_and_the_day_of_a_release_is_no_whole_day(store: Store) -> None:
    released(store, 21)
    month(store, 20)
    assert look_for_drift(store, NAME, TODAY - timedelta(days=6)).status == "usual"
    released(store, 5, "d" * 64)
    first = look_for_drift(store, NAME, TODAY - timedelta(days=4))
    assert (first.status, first.days, first.package) == ("learning", 1, "d" * 64)
    assert [one.day for one in findings(store, NAME)][-2:] == [str(TODAY - timedelta(days=ago)) for ago in (6, 4)]
    released(store, 3, "d" * 64)  # the same package again goes on
    assert look_for_drift(store, NAME).days == 4


def test_stored_prompts_are_told_apart_and_only_their_features_are_kept(store: Store) -> None:
    released(store, 17)
    for ago in range(16, 0, -1):
        day = TODAY - timedelta(days=ago)
        counted(store, day, traffic(day, many=150))
        word = "parcel" if ago <= 2 else "invoice"
        at = datetime.combine(day, time(12), UTC).timestamp()
        store.write_live([], [
            RequestRow(
                at=at + n, id=f"{day}-{n}", endpoint=NAME, revision=1, assigned="quantized", served="quantized", status=200, total_ms=1,
                text=f"What about the {word} number {n} of {'ab'[n % 2]} {'cde'[n % 3]}?",
            )
            for n in range(60)
        ])  # fmt: skip
    found = look_for_drift(store, NAME)
    assert found.status == "drift"
    assert found.beyond == {"domain"}
    assert "A classifier tells the prompts from those before: 1.00 of 1" in found.reasons[0]
    kept = findings(store, NAME)[0]
    assert len(kept.prompts) == 60
    assert not any("invoice" in event.canonical for event in store.events(kind=LOOKED))


def test_a_quiet_day_is_said_to_be_one_and_parts_nothing(store: Store) -> None:
    released(store, 21)
    month(store, 20, shift_after=3)
    quiet = TODAY - timedelta(days=2)
    with store.engine.begin() as connection:
        minute = int(datetime.combine(quiet, time(), UTC).timestamp()) // 60
        connection.execute(sa.text("DELETE FROM quantplay.live_counters WHERE minute = :m"), {"m": minute})
    counted(store, quiet, traffic(quiet, many=40))
    few = look_for_drift(store, NAME, quiet)
    assert few.status == "too few"
    assert "40 conversations were counted, and it takes 100" in few.reasons[0]
    assert look_for_drift(store, NAME).status == "drift"
    assert str(quiet) not in [one.day for one in findings(store, NAME)]


def test_today_is_shown_and_not_remembered(store: Store) -> None:
    released(store, 21)
    month(store, 20)
    counted(store, TODAY, traffic(TODAY))
    assert look_for_drift(store, NAME, TODAY).status == "usual"
    assert findings(store, NAME)[-1].day == str(TODAY - timedelta(days=1))
    with pytest.raises(InputError, match="still to come"):
        look_for_drift(store, NAME, TODAY + timedelta(days=1))
    with pytest.raises(InputError, match="no such endpoint"):
        look_for_drift(store, "nobody")


def calibrated(store: Store, folder: Path, texts: list[str], stored: bool) -> Fingerprint:
    """A locked package with this calibration set, of which the first 200 samples were used."""
    path = folder / "calibration.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"c{n}", "text": text}) + "\n" for n, text in enumerate(texts)), encoding="utf-8"
    )
    entry = FileEntry(path="calibration.jsonl", size_bytes=path.stat().st_size, sha256=digest_of_file(path))
    inputs = (store.put_manifest(Manifest.of("calibration", "calibration.jsonl", (entry,))),)
    if stored:
        store.artifacts.put_file(path)
    plan = samples.plan()
    made_of = MadeOf(
        plan=store.put_plan(plan), baseline=samples.digest(1), artifact=samples.digest(2), evaluation=samples.digest(3),
        decision=samples.digest(4), inputs=inputs,
    )  # fmt: skip
    store.put_evaluation(made_of.evaluation, samples.evaluation())
    run = store.start_run(plan=made_of.plan, profile="internal", body={"plan_path": str(folder / "plan.yaml")})
    package = samples.package().model_copy(update={"made_of": made_of, "manifest": PACKAGE, "run": str(run)})
    store.put_package(samples.digest("package"), package)
    store.finish_run(run, outcome="locked", exit_code=0, package=samples.digest("package"))
    return fingerprint_of(of_text(text) for text in texts[: plan.calibration.samples])


@pytest.mark.parametrize("stored", [True, False])
def test_the_calibration_set_is_found_and_a_set_unlike_the_traffic_is_said_at_once(
    store: Store, tmp_path: Path, stored: bool
) -> None:
    texts = [f"def f{n}(x):\n    return x\nimport os\nclass A{n}:\n    pass" for n in range(300)]
    expected = calibrated(store, tmp_path, texts, stored)
    assert calibration_fingerprint(store, PACKAGE) == expected
    (tmp_path / "calibration.jsonl").unlink()
    assert calibration_fingerprint(store, PACKAGE) == expected  # kept
    assert len(store.events(kind=KEPT, subject=PACKAGE)) == 1
    assert calibration_fingerprint(store, "e" * 64) is None
    released(store, 3)
    month(store, 2)
    found = look_for_drift(store, NAME)
    assert found.measure == samples.digest("package")
    assert found.status == "learning"
    assert any("hold code, calibration 100 %" in one for one in found.unlike)
    assert "does not look like the traffic" in findings(store, NAME)[0].reasons[-1]


def test_a_package_alone_carries_its_calibration_set(store: Store, tmp_path: Path) -> None:
    package = write_package(made_package(tmp_path / "run"), tmp_path / "packed" / "package")
    found = calibration_fingerprint(store, package.manifest, Path(package.path))
    assert found == fingerprint_of(of_text(f"order {number} day?") for number in range(4))


def test_a_calibration_set_that_was_changed_is_not_taken(store: Store, tmp_path: Path) -> None:
    calibrated(store, tmp_path, ["a text"] * 3, False)
    (tmp_path / "calibration.jsonl").write_text('{"id": "c0", "text": "another"}\n')
    assert calibration_fingerprint(store, PACKAGE) is None


def test_the_command_shows_what_was_found(new_database, tmp_path: Path) -> None:
    url = new_database()
    engine = make_engine(parse_url(url))
    store = Store(engine, UUID(int=1), str(tmp_path / "artifacts"))
    released(store, 21)
    month(store, 20, shift_after=2)
    store.close()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    here = {**inherited, "QUANTPLAY_HOME": str(tmp_path), "QUANTPLAY_DATABASE_URL": url, "COLUMNS": "200"}

    def told(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "quantplay.cli", "drift", *words]
        return subprocess.run(command, capture_output=True, text=True, env=here, timeout=120, check=False)

    shown = told(NAME)
    assert shown.returncode == 0, shown.stderr
    for words in ("drift", "code, JSON and tools", "beyond", "14 days are taken as usual", "before 2"):
        assert words in shown.stdout, shown.stdout
    body = json.loads(told(NAME, "--json").stdout)
    assert (body["status"], body["due"]) == ("drift", True)
    assert told(NAME, "--day", "yesterday").returncode == 2
