"""Records come back exactly as they were put, once and for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
import store_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.digest import canonical_json
from quantplay.errors import InputError, IntegrityError, InternalError
from quantplay.records import ItemResult, Record
from quantplay.store import records, tables
from quantplay.store.registry import Store

KEY = samples.digest("key")
CASES: list[tuple[str, Callable[[], Record]]] = [
    ("baseline", samples.baseline),
    ("envelope", samples.envelope),
    ("recipe", samples.recipe),
    ("artifact", samples.artifact),
    ("evaluation", samples.evaluation),
    ("decision", samples.decision),
    ("package", samples.package),
    ("calibration_check", samples.calibration_check),
    ("scan_part", samples.scan_part),
    ("sensitivity", samples.sensitivity),
    ("training", samples.training),
]


def put(store: Store, name: str, key: str, record: Record) -> None:
    getattr(store, f"put_{name}")(key, record)


def get(store: Store, name: str, key: str) -> Any:
    return getattr(store, f"get_{name}")(key)


@pytest.mark.parametrize(("name", "make"), CASES)
def test_a_record_comes_back_byte_for_byte(store: Store, name: str, make: Callable[[], Record]) -> None:
    record = make()
    assert get(store, name, KEY) is None
    put(store, name, KEY, record)
    put(store, name, KEY, record)
    found = get(store, name, KEY)
    assert found == record
    # Equality takes -0.0 for 0.0; a digest does not.
    assert canonical_json(found.body()) == canonical_json(record.body())


@pytest.mark.parametrize(("name", "make"), CASES)
def test_another_record_under_the_same_key_is_refused(store: Store, name: str, make: Callable[[], Record]) -> None:
    record = make()
    put(store, name, KEY, record)
    changes = {
        "seconds": 9.0,
        "difficulty": "x",
        "bottleneck": "cost",
        "seed": 3,
        "next_play": "x",
        "path": "/q",
        "samples": 7,
        "parts": 5,
        "sequences": 3,
        "steps_done": 9,
    }
    if name == "evaluation":
        other: Record = samples.evaluation(seed=1)  # differs only in its items
    else:
        fields = type(record).model_fields
        other = record.model_copy(update={field: value for field, value in changes.items() if field in fields})
    assert other != record
    with pytest.raises(IntegrityError, match="already recorded"):
        put(store, name, KEY, other)
    assert get(store, name, KEY) == record


def test_the_packages_of_a_run_are_found_by_its_id(store: Store) -> None:
    package = samples.package()
    other = package.model_copy(update={"manifest": samples.digest("later")})
    store.put_package(KEY, package)
    store.put_package(samples.digest("another key"), other)
    store.put_package(samples.digest("third key"), package.model_copy(update={"run": "q"}))
    assert {one.manifest for one in store.packages_of_run("r")} == {package.manifest, other.manifest}
    assert store.packages_of_run("nobody's") == ()


def test_the_largest_evaluation_of_a_plan_is_stored_in_under_two_seconds(store: Store) -> None:
    """Seconds of this process, not of the clock: other programs may keep the machine busy."""
    evaluation = samples.evaluation(9000)
    began = time.process_time()
    store.put_evaluation(KEY, evaluation)
    written = time.process_time() - began
    began = time.process_time()
    assert store.get_evaluation(KEY) == evaluation
    read = time.process_time() - began
    print(f"9,000 items: put {written:.2f} s, get {read:.2f} s")
    assert written < 2
    assert read < 2


def test_items_can_be_queried_and_bodies_do_not_hold_them(store: Store) -> None:
    baseline = samples.baseline(50)
    store.put_baseline(KEY, baseline)
    with store.engine.connect() as connection:
        means = dict(
            connection.execute(
                sa.text(
                    "select slice, avg(score) from quantplay.items"
                    " where kind = 'baseline' and owner = :key and arm = 'source' group by 1"
                ),
                {"key": KEY},
            ).all()
        )
        body, model = connection.execute(sa.select(tables.baselines.c.body, tables.baselines.c.model)).one()
    assert means == pytest.approx(baseline.source.scores())
    assert "items" not in body["source"]
    assert body["source"]["precision"] == "float32"
    assert model == baseline.model


def test_baseline_and_evaluation_may_share_a_key(store: Store) -> None:
    store.put_baseline(KEY, samples.baseline())
    store.put_evaluation(KEY, samples.evaluation())
    assert store.get_baseline(KEY) == samples.baseline()
    assert store.get_evaluation(KEY) == samples.evaluation()


def test_a_row_changed_behind_our_back_is_noticed(store: Store) -> None:
    store.put_evaluation(KEY, samples.evaluation())
    with store.engine.begin() as connection:
        connection.execute(sa.update(tables.items).where(tables.items.c.position == 3).values(score=0.123))
    with pytest.raises(IntegrityError, match="changed in the database"):
        store.get_evaluation(KEY)


def test_a_put_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("half-way")

    monkeypatch.setattr(records, "insert_items", fail)
    with pytest.raises(RuntimeError, match="half-way"):
        store.put_evaluation(KEY, samples.evaluation())
    monkeypatch.undo()
    assert store.get_evaluation(KEY) is None
    store.put_evaluation(KEY, samples.evaluation())
    assert store.get_evaluation(KEY) == samples.evaluation()


def test_many_put_the_same_at_once(store: Store) -> None:
    evaluation = samples.evaluation(300)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: store.put_evaluation(KEY, evaluation), range(12)))
    assert store.get_evaluation(KEY) == evaluation


def test_a_plan_is_stored_with_its_gate(store: Store) -> None:
    plan = samples.plan()
    key = store.put_plan(plan)
    assert (key, store.put_plan(plan)) == (plan.digest(), plan.digest())
    assert store.get_plan(key) == plan
    assert store.get_gate(plan.gate_digest()) == plan.gate
    other = store.put_plan(samples.plan(name="other"))
    assert other != key
    with store.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.gates)) == 1


def test_the_same_files_may_come_from_two_sources(store: Store) -> None:
    first, second = samples.manifest("../model"), samples.manifest("/elsewhere")
    assert first.content == second.content
    keys = [store.put_manifest(first), store.put_manifest(second), store.put_manifest(first)]
    assert keys[0] == keys[2] != keys[1]
    assert store.get_manifest(keys[1]) == second
    assert store.find_manifests("model", first.content) == (first, second)
    assert store.find_manifests("calibration", first.content) == ()


def test_a_key_that_is_no_digest_is_our_own_fault(store: Store) -> None:
    with pytest.raises(InternalError):
        store.put_recipe("latest", samples.recipe())


def test_nul_outside_a_response_is_refused_in_words(store: Store) -> None:
    plan = samples.plan().model_copy(update={"trade_off": "a\0b"})
    with pytest.raises(InputError, match="NUL"):
        store.put_plan(plan)
    store.put_plan(samples.plan().model_copy(update={"trade_off": "a\\u0000b"}))


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    responses=st.lists(TEXT, max_size=8),
    score=st.floats(0, 1),
    loss=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
)
def test_any_item_survives(store: Store, responses: list[str], score: float, loss: float | None, name: str) -> None:
    items = tuple(
        ItemResult(id=f"{name}{number}", slice=name, cluster=name, score=score, response=text, gold_loss_nats=loss)
        for number, text in enumerate(responses)
    )
    evaluation = samples.evaluation(1)
    evaluation = evaluation.model_copy(update={"candidate": evaluation.candidate.model_copy(update={"items": items})})
    key = evaluation.digest()
    store.put_evaluation(key, evaluation)
    found = store.get_evaluation(key)
    assert found is not None
    assert found.digest() == key
