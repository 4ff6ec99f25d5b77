"""Runs, attempts, pins and the lock that keeps two runs of one plan apart."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
import store_samples as samples

from quantplay.errors import InputError, IntegrityError
from quantplay.settings import Settings
from quantplay.store import runs
from quantplay.store.locks import turn_name
from quantplay.store.registry import Store, open_store


def test_the_life_of_a_run(store: Store) -> None:
    assert store.get_run() is None
    plan = store.put_plan(samples.plan())
    run = store.start_run(plan=plan, profile="internal", prefect_flow_run_id="flow-1")
    store.record_play(run, play="baseline", key=samples.digest(1), reused=True, seconds=0.5)
    store.record_play(run, play="evaluate", key=samples.digest(2), reused=False, seconds=7.0, attempt=2)
    store.record_play(run, play="evaluate", key=samples.digest(2), reused=True, seconds=0.0, attempt=2)  # a resume
    running = store.get_run(str(run)[:6])
    assert running is not None
    assert (running.id, running.state, running.outcome, running.finished_at) == (run, "running", None, None)
    assert [(play.play, play.reused, play.seconds, play.attempt) for play in running.plays] == [
        ("baseline", True, 0.5, 1),
        ("evaluate", False, 7.0, 2),
    ]
    store.finish_run(run, outcome="awaiting_signature", exit_code=10)
    assert store.start_run(plan=plan, profile="internal", run=run) == run
    resumed = store.get_run(str(run))
    assert resumed is not None
    assert (resumed.state, resumed.outcome, resumed.prefect_flow_run_id) == ("running", None, "flow-1")
    store.finish_run(run, outcome="locked", exit_code=0, package=samples.digest("package"))
    finished = store.get_run(run.hex)
    assert finished is not None
    assert (finished.state, finished.outcome, finished.exit_code) == ("finished", "locked", 0)
    assert finished.package == samples.digest("package")
    assert finished.finished_at is not None
    assert finished.finished_at >= finished.started_at
    with pytest.raises(InputError, match="has ended"):
        store.start_run(plan=plan, profile="internal", run=run)


def test_runs_are_found_newest_first(store: Store) -> None:
    plan = store.put_plan(samples.plan())
    ids = [UUID(f"abcd0000-0000-4000-8000-00000000000{number}") for number in range(5)]
    for run in ids:
        store.start_run(plan=plan, profile="internal", run=run)
    assert [run.id for run in store.list_runs()] == ids[::-1]
    assert [run.id for run in store.list_runs(2)] == ids[:2:-1]
    found = store.get_run("ABCD")
    assert found is not None
    assert found.id == ids[-1]
    assert store.get_run("abcd%") is None


def test_a_run_needs_its_plan_first(store: Store) -> None:
    with pytest.raises(IntegrityError):
        store.start_run(plan=samples.digest("no plan"), profile="internal")
    with pytest.raises(InputError, match="no such run"):
        store.finish_run(uuid4(), outcome="locked", exit_code=0)
    plan, other = store.put_plan(samples.plan()), store.put_plan(samples.plan(name="other"))
    run = store.start_run(plan=plan, profile="internal")
    with pytest.raises(InputError, match="another plan"):
        store.start_run(plan=other, profile="internal", run=run)


def test_looks_at_the_gate_are_counted(store: Store) -> None:
    gate, model, content = "gate", "model", "evaluation set"
    assert store.next_attempt(plan="plan", gate=gate, model=model, items=content, artifact="e1") == 1
    assert store.next_attempt(plan="plan", gate=gate, model=model, items=content, artifact="e2") == 2
    assert store.next_attempt(plan="plan", gate=gate, model=model, items=content, artifact="e1") == 1
    assert store.next_attempt(plan="plan", gate=gate, model="other model", items=content, artifact="e1") == 1
    assert store.next_attempt(plan="new plan", gate="looser gate", model=model, items=content, artifact="e1") == 1
    assert store.next_attempt(plan="third plan", gate=gate, model=model, items=content, artifact="e3") == 1
    looks = store.attempts_of(model, content)
    assert [(look.gate, look.attempt, look.artifact) for look in looks] == [
        ("gate", 1, "e1"),
        ("gate", 2, "e2"),
        ("looser gate", 1, "e1"),
        ("gate", 1, "e3"),
    ]


def test_simultaneous_looks_get_different_numbers(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(
            pool.map(
                lambda number: store.next_attempt(plan="p", gate="g", model="m", items="c", artifact=f"e{number % 10}"),
                range(30),
            )
        )
    assert sorted(set(numbers)) == list(range(1, 11))
    assert all(numbers[index] == numbers[index % 10] for index in range(30))


def test_pins_keep_a_file(store: Store, tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "file"
    file.write_bytes(b"weights")
    stored = store.artifacts.put_file(file)
    store.pin(stored.sha256, "rollback path")
    store.pin(stored.sha256, "rollback path")
    store.pin(stored.sha256, "package", uuid4())
    assert store.pins_of(stored.sha256) == ("package", "rollback path")
    with pytest.raises(InputError, match="rollback path"):
        store.artifacts.delete(stored.sha256)
    assert store.artifacts.exists(stored.sha256)


def test_the_second_of_two_runs_waits(store: Store) -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with store.run_lock("plan", waiting.set) as waited:
            order.append(("second", waited))

    with store.run_lock("plan") as waited:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        with store.run_lock("another plan") as other:
            assert not other
        time.sleep(0.1)
        order.append(("first", waited))
    thread.join(10)
    assert order == [("first", False), ("second", True)]
    with store.run_lock("plan") as waited:
        assert not waited


def test_the_lock_is_free_after_an_error(store: Store) -> None:
    with pytest.raises(RuntimeError), store.run_lock("plan"):
        raise RuntimeError
    with store.run_lock("plan", lambda: pytest.fail("still held")):
        pass


def test_an_ending_is_not_undone_by_a_process_that_fails_later(store: Store) -> None:
    run = store.start_run(plan=store.put_plan(samples.plan()), profile="internal")
    store.finish_run(run, outcome=None, exit_code=130, state="cancelled", event=("run.cancelled", {}))
    cancelled = store.get_run(str(run))
    assert cancelled is not None
    assert (cancelled.state, cancelled.outcome, cancelled.exit_code) == ("cancelled", None, 130)
    store.finish_run(run, outcome="close", exit_code=11, event=("run.finished", {"outcome": "close"}))
    store.finish_run(run, outcome=None, exit_code=1, state="failed", event=("run.failed", {"error": "late"}))
    ended = store.get_run(str(run))
    assert ended is not None
    assert (ended.state, ended.outcome, ended.exit_code) == ("finished", "close", 11)
    assert [event.kind for event in store.events(subject=str(run))] == ["run.cancelled", "run.finished"]


def test_a_run_whose_process_is_gone_is_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SETTLING", sa.text("interval '0'"))
    plan = store.put_plan(samples.plan())
    run = store.start_run(plan=plan, profile="internal", prefect_flow_run_id="flow-1", body={"inputs": {}})
    with store.run_lock(turn_name(run)):
        assert [one.state for one in store.list_runs()] == ["running"]
        assert store.interrupted_runs(plan) == ()
    assert [one.state for one in store.list_runs()] == ["interrupted"]
    assert [one.id for one in store.interrupted_runs(plan)] == [run]
    assert [one.id for one in store.runs_of_flow_run("flow-1")] == [run]
    store.start_run(plan=plan, profile="internal", run=run, prefect_flow_run_id="flow-2", body={})
    assert store.runs_of_flow_run("flow-1") == ()
    store.finish_run(run, outcome="close", exit_code=11)
    assert [one.state for one in store.list_runs()] == ["finished"]
    assert store.interrupted_runs(plan) == ()
    assert [event.kind for event in store.events(subject=str(run))] == ["run.opened", "run.resumed"]


def test_a_young_run_gets_time_to_take_its_lock(store: Store) -> None:
    store.start_run(plan=store.put_plan(samples.plan()), profile="internal")
    assert [one.state for one in store.list_runs()] == ["running"]


def test_record_row_and_event_of_a_play_are_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.start_run(plan=store.put_plan(samples.plan()), profile="internal")
    key, made = samples.digest("evaluation"), samples.evaluation()
    arguments = {"play": "evaluate", "key": key, "record": made, "reused": False, "seconds": 1.0}
    with monkeypatch.context() as broken:
        broken.setattr("quantplay.store.events.append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.settle(run, **arguments)
    assert store.get_evaluation(key) is None
    row = store.get_run(str(run))
    assert row is not None
    assert row.plays == ()
    for _ in range(2):  # tried again after its answer was lost
        assert store.settle(run, **arguments) == made
    assert store.get_evaluation(key) == made
    assert [event.kind for event in store.events(subject=key)] == ["play.done"]


def test_of_two_results_under_one_key_the_first_stays(store: Store) -> None:
    plan = store.put_plan(samples.plan())
    first, second = (store.start_run(plan=plan, profile="internal") for _ in range(2))
    key, made, slower = (
        samples.digest("e"),
        samples.envelope(),
        samples.envelope().model_copy(update={"reasons": ("other",)}),
    )
    arguments = {"play": "envelope", "key": key, "reused": False, "seconds": 1.0}
    assert store.settle(first, record=made, **arguments) == made
    assert store.settle(second, record=slower, **arguments) == made
    row = store.get_run(str(second))
    assert row is not None
    assert [(play.play, play.reused) for play in row.plays] == [("envelope", True)]
    assert len(store.events(subject=key)) == 1


HOLD = """
import sys, time
from quantplay.settings import read_settings
from quantplay.store.registry import open_store
with open_store(read_settings()) as store, store.run_lock("plan"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_goes_with_a_killed_process(database_settings: Settings) -> None:
    assert database_settings.database_url is not None
    environment = {"QUANTPLAY_DATABASE_URL": database_settings.database_url, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", HOLD]
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder,
        open_store(database_settings) as store,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        # On being told that it has to wait, kill the holder.
        with store.run_lock("plan", holder.kill) as waited:
            assert waited
