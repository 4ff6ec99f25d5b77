"""Looking locked packages up: what is found, in how many queries; names that move and keep their past; a model's history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
import store_samples as samples
from locked_models import lock_model
from test_store_revalidations import revalidation

from quantplay.errors import InputError
from quantplay.records import Manifest
from quantplay.store.aliases import SET
from quantplay.store.catalogue import Entry, Wanted
from quantplay.store.registry import Store

GPU = samples.FINGERPRINT.model_copy(
    update={"hardware": samples.FINGERPRINT.hardware.model_copy(update={"cpu": "Xeon", "accelerators": ("NVIDIA H200",)})}
)  # fmt: skip


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """The statements sent while the block runs."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", note)


def base_of(store: Store, key: str) -> str:
    base = store.package_named(key).base
    assert base is not None
    return base


def test_an_entry_says_what_the_records_say(store: Store) -> None:
    key = lock_model(store, "desk", drop=1.25)
    package = store.get_package(key)
    assert package is not None
    assert package.made_of is not None
    evaluation, artifact = (
        store.get_evaluation(package.made_of.evaluation),
        store.get_artifact(package.made_of.artifact),
    )
    decision, manifest = store.get_decision(package.made_of.decision), store.get_manifest(package.made_of.inputs[0])
    assert evaluation is not None
    assert artifact is not None
    assert decision is not None
    assert isinstance(manifest, Manifest)
    (entry,) = store.find_packages()
    assert (entry.key, entry.path, entry.run, entry.manifest) == (key, package.path, package.run, package.manifest)
    assert (entry.name, entry.owner, entry.product_owner) == ("desk", "a@example.com", "b@example.com")
    assert (entry.base, entry.source, entry.runtime) == (manifest.content, "model", "llama.cpp")
    assert (entry.type, entry.bits, entry.bits_per_weight) == ("Q4_K_M", 4.5, artifact.bits_per_weight)
    assert (entry.size_bytes, entry.sha256) == (artifact.size_bytes, artifact.sha256)
    assert entry.stack == evaluation.fingerprint
    assert entry.time_per_token_ms == evaluation.performance.time_per_token_ms.p50
    assert entry.peak_resident_bytes == evaluation.performance.peak_resident_bytes
    assert [(one.slice, one.drop) for one in entry.drops] == [(one.slice, one.drop) for one in decision.slices]
    assert entry.worst is not None
    assert entry.worst.drop == 1.25
    assert (entry.newest, entry.incident, entry.serving, entry.aliases) == (None, None, (), ())


def test_what_is_not_wanted_is_not_found(store: Store) -> None:
    desk = lock_model(store, "desk")
    chat = lock_model(
        store, "chat", model="other", kind="Q8_0", on=GPU, envelope={"runtime": "vllm"}, plan={"use_case": "Small talk"}
    )
    old = samples.digest("old")  # of an earlier version: nothing of what it was made of is known
    store.put_package(old, samples.package())
    run = store.start_run(plan=store.put_plan(samples.plan("old")), profile="internal")
    store.finish_run(run, outcome="locked", exit_code=0, package=old)
    waits = samples.digest("waits")
    store.put_package(waits, samples.package())
    run = store.start_run(plan=store.put_plan(samples.plan("waits")), profile="internal")
    store.finish_run(run, outcome="awaiting_signature", exit_code=0, package=waits)

    def found(**wanted: object) -> set[str]:
        return {one.key for one in store.find_packages(Wanted(**wanted))}  # type: ignore[arg-type]

    assert found() == {desk, chat, old}
    assert found(base=base_of(store, chat)) == found(base=base_of(store, chat)[:7].upper()) == {chat}
    assert found(runtime="vllm") == found(type="q8_0") == found(bits=8) == found(hardware="h200") == {chat}
    assert found(bits=4) == found(hardware="A CPU") == {desk}
    assert found(use_case="small TALK") == found(text="talk") == found(text="q8") == found(name="chat") == {chat}
    assert found(owner="A@example") == {desk, chat, old}
    assert found(key=old[:9]) == {old}
    assert found(runtime="vllm", bits=4) == found(text="100 %") == found(name="cha") == set()


def test_the_newest_measurement_and_the_open_incident_stand_beside_it(store: Store) -> None:
    key = lock_model(store, "desk")
    store.put_revalidation(revalidation().model_copy(update={"package": key}), samples.evaluation())
    worse = revalidation("regressed", at="2026-11-22T09:00:00+00:00").model_copy(
        update={"package": key, "measured": samples.digest("again")}
    )
    newest, incident = store.put_revalidation(worse, samples.evaluation())
    assert incident is not None
    (entry,) = store.find_packages()
    assert entry.newest is not None
    assert (entry.newest.key, entry.newest.status, entry.newest.reasons) == (newest, "regressed", worse.reasons[:1])
    assert entry.newest.stack == worse.stack
    assert entry.incident == str(incident.id)
    store.close_incident(str(incident.id), by="ann", resolution="mended", lesson=samples.LESSON)
    assert store.find_packages()[0].incident is None


def test_a_hundred_packages_take_as_many_queries_as_one(store: Store) -> None:
    lock_model(store, "one", items=1)
    with counted(store) as for_one:
        store.find_packages()
    for number in range(20):
        lock_model(store, f"m{number}", items=1)
    with counted(store) as for_many:
        assert len(store.find_packages()) == 21
    assert len(for_one) == len(for_many) == 1


# --- aliases ---------------------------------------------------------------------------------------------------------------


def test_a_name_moves_and_its_past_stays(store: Store) -> None:
    first, second = lock_model(store, "desk"), lock_model(store, "desk", kind="Q8_0")
    name = "support-desk/production"
    with pytest.raises(InputError, match="nothing has this name"):
        store.package_named(name)
    store.set_alias(name, first, actor="ann", reason="first release")
    moved = store.set_alias(name, second, actor="bob", reason="it was too fragile")
    assert moved.version == 2
    assert store.set_alias(name, second, actor="bob", reason="again") == moved
    assert store.package_named(name).key == second
    assert store.package_named(second[:8]).aliases == (name,)
    assert store.package_named(first).aliases == ()
    assert [(one.version, one.package, one.actor) for one in store.alias_history(name)] == [
        (2, second, "bob"),
        (1, first, "ann"),
    ]
    assert [one.version for one in store.alias_history(package=first)] == [1]
    told = store.events(kind=SET, subject=name)
    assert [(one.actor, one.body["before"], one.body["package"]) for one in told] == [
        ("ann", None, first),
        ("bob", first, second),
    ]
    assert store.verify_events() == ()


@pytest.mark.parametrize(
    "name", ["production", "Desk/production", "desk/", "/desk", "a/b c", "a/../b/", "a/" + "b" * 200]
)
def test_what_can_be_no_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="can't be the name"):
        store.set_alias(name, lock_model(store), actor="ann", reason="why")


def test_a_name_needs_a_reason_and_a_locked_package(store: Store) -> None:
    with pytest.raises(InputError, match="reason"):
        store.set_alias("a/b", lock_model(store), actor="ann", reason="  ")
    written = samples.digest("written")
    store.put_package(written, samples.package())
    with pytest.raises(InputError, match="names a locked package"):
        store.set_alias("a/b", written, actor="ann", reason="why")
    assert store.alias_history() == ()


@pytest.mark.parametrize(
    "statement",
    ["update quantplay.aliases set reason = 'x'", "delete from quantplay.aliases", "truncate quantplay.aliases"],
)
def test_the_database_itself_keeps_the_past_of_names(store: Store, statement: str) -> None:
    store.set_alias("a/b", lock_model(store), actor="ann", reason="why")
    with pytest.raises(InputError, match="append-only"), store._begin() as connection:
        connection.execute(sa.text(statement))
    assert len(store.alias_history("a/b")) == 1


def test_a_version_written_by_hand_is_numbered_by_the_database(store: Store) -> None:
    key = lock_model(store)
    store.set_alias("a/b", key, actor="ann", reason="why")
    with store._begin() as connection:
        connection.execute(
            sa.text("insert into quantplay.aliases (name, version, package, actor, reason) values ('a/b', 1, :key, 'x', 'y')"), {"key": key}
        )  # fmt: skip
    assert [one.version for one in store.alias_history("a/b")] == [2, 1]


# --- history of a model ----------------------------------------------------------------------------------------------------


def test_the_history_of_a_model_says_what_took_whose_place(store: Store) -> None:
    first = lock_model(store, "desk")
    entry = store.package_named(first)
    second = lock_model(store, "desk", kind="Q8_0", plan={"updates": entry.run})
    lock_model(store, "other", model="elsewhere")
    store.set_alias("desk/production", first, actor="ann", reason="first")
    store.set_alias("desk/production", second, actor="ann", reason="better")
    found = store.model_history("desk")
    assert [(one.what, one.package, one.replaces) for one in found] == [
        ("run", first, None), ("run", second, first), ("alias", first, None), ("alias", second, first),
    ]  # fmt: skip
    assert found == store.model_history("model") == store.model_history(str(entry.base)[:10])
    assert {one.state for one in found if one.what == "run"} == {"locked"}
    assert store.model_history("nobody knows it") == ()


def test_the_same_entry_by_alias_and_by_key(store: Store) -> None:
    key = lock_model(store)
    store.set_alias("a/b/c", key, actor="ann", reason="why")
    assert isinstance(store.package_named("a/b/c"), Entry)
    assert store.package_named("a/b/c") == store.package_named(key) == store.package_named(key[:10].upper())
    lock_model(store, "second")
    with pytest.raises(InputError, match="nothing named"):
        store.package_named("")
