"""Lessons and regressions on a real database: what closes an incident, what is found again, who saw a regression first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
import store_samples as samples
from audit_records import made, policy, stored

from quantplay.audit import audit
from quantplay.errors import InputError
from quantplay.live.release import release
from quantplay.live.tick import JUDGE, ROLLED_BACK
from quantplay.plays.regressions import counted, regressions_of
from quantplay.settings import Settings
from quantplay.store import schema
from quantplay.store.incidents import CLOSED, Lesson, lesson_of
from quantplay.store.registry import Store, open_store

PAGE = Lesson(text="Nobody is called at night.", folded_into="documentation", where="docs/on-call.md")


def closed(store: Store, lesson: Lesson, *, package: str = "p", kind: str = "regression") -> str:
    incident = store.open_incident(kind=kind, package=package, what="Totals are wrong since the driver changed.")
    store.close_incident(str(incident.id), by="dora", resolution="rolled the driver back", lesson=lesson)
    return str(incident.id)


@pytest.mark.parametrize(
    ("text", "into", "where"),
    [
        (None, "standard", "standards 3"), (" ", "standard", "standards 3"), ("Pin drivers.", None, "standards 3"),
        ("Pin drivers.", "nowhere", "standards 3"), ("Pin drivers.", "standard", None), ("Pin drivers.", "evaluation_item", "  "),
        ("Pin drivers.", "none", "docs/x.md"), ("x" * 2001, "standard", "standards 3"), ("Pin drivers.", "standard", "x" * 2001),
    ],
)  # fmt: skip
def test_a_lesson_that_says_nothing_is_refused(text: str | None, into: str | None, where: str | None) -> None:
    with pytest.raises(InputError):
        lesson_of(text, into, where)


@pytest.mark.parametrize(
    "told",
    [
        {}, {"lesson": "Pin drivers."}, {"lesson": "Pin drivers.", "folded_into": "standard"},
        {"lesson": "Pin drivers.", "folded_into": "a drawer", "folded_where": "the second"},
        {"lesson": "Pin drivers.", "folded_into": "standard", "folded_where": " "},
        {"lesson": " ", "folded_into": "standard", "folded_where": "standards 3"},
    ],
)  # fmt: skip
def test_the_database_itself_keeps_an_incident_open_without_a_lesson(store: Store, told: dict[str, str]) -> None:
    incident = store.open_incident(kind="regression", package="p", what="It got worse.")
    row = {"lesson": None, "folded_into": None, "folded_where": None} | told
    change = sa.text(
        "update quantplay.incidents set closed_at = now(), closed_by = 'x', resolution = 'y', lesson = :lesson,"
        " folded_into = :folded_into, folded_where = :folded_where where id = :id"
    )
    with (
        pytest.raises(sa.exc.IntegrityError, match="incidents_closed_with_a_lesson"),
        store.engine.begin() as connection,
    ):
        connection.execute(change, {**row, "id": incident.id})
    assert [one.id for one in store.list_incidents(open_only=True)] == [incident.id]


def test_an_incident_that_was_closed_before_stays_closed_and_can_be_read(
    new_database: Callable[..., str], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(new_database(empty=True))
    engine = sa.create_engine(sa.make_url(settings.database_url or "").set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        schema._upgrade(connection, "0008")
        connection.execute(
            sa.text(
                "insert into quantplay.incidents (id, kind, package, what, closed_at, closed_by, resolution)"
                " values (gen_random_uuid(), 'regression', 'p', 'It got worse.', now(), 'dora', 'mended')"
            )
        )
    engine.dispose()
    with open_store(settings) as store:
        (old,) = store.list_incidents()
        assert (old.resolution, old.lesson, old.learned) == ("mended", None, False)
        assert store.lessons() == ()
        learned = store.close_incident(str(old.id), by="ada", resolution="looked at again", lesson=samples.LESSON)
        assert (learned.closed_by, learned.resolution, learned.learned) == ("dora", "mended", True)
        assert learned.closed_at == old.closed_at
        assert [one.incident.lesson for one in store.lessons()] == [samples.LESSON.text]
        with pytest.raises(InputError, match="no open incident"):
            store.close_incident(str(old.id), by="ada", resolution="again", lesson=samples.LESSON)


def test_lessons_are_kept_and_found_by_text_kind_model_and_where_they_went(store: Store) -> None:
    run = made()
    _, key = stored(store, run)
    package = store.get_package(key)
    assert package is not None
    one = closed(store, samples.LESSON, package=key)
    two = closed(store, PAGE, package=package.manifest, kind="live rollback")
    other = closed(store, Lesson(text="More sums.", folded_into="evaluation_item", where="gate-0481"), package="gone")
    assert [str(found.incident.id) for found in store.lessons()] == [other, two, one]

    def found(**asked: str) -> set[str]:
        return {str(one.incident.id) for one in store.lessons(**asked)}

    base = run.inputs.model.content
    assert found(text="DRIVERS ARE") == {one}
    assert found(text="gate-0481") == {other}
    assert found(kind="live rollback") == {two}
    assert found(model=run.plan.name) == found(model=base[:8]) == found(model=run.plan.model.source) == {one, two}
    assert found(folded_into="documentation") == {two}
    assert found(text="nothing like it") == set()
    (learned,) = store.lessons(kind="live rollback")
    assert (learned.package, learned.name, learned.base) == (key, run.plan.name, base)
    assert {str(one.incident.id) for one in store.lessons(about=(base,))} == {one, two}
    last = store.events(kind=CLOSED)[-1]
    assert (last.actor, last.body["lesson"], last.body["folded_where"]) == ("dora", "More sums.", "gate-0481")


def test_an_audit_says_yes_to_incidents_only_where_something_was_learned(store: Store) -> None:
    _, key = stored(store, made())

    def answer() -> str:
        return next(line.answer for line in audit(store, key, "package").answers if "incident" in line.question)

    assert answer() == "unknown"
    closed(store, samples.LESSON, package=key)
    assert answer() == "yes"
    assert [one.where for one in audit(store, key, "package").lessons] == ["standards 3"]
    store.open_incident(kind="regression", package=key, what="Again.")
    assert answer() == "no"


def seen(store: Store) -> tuple[int, ...]:
    return tuple(counted(regressions_of(store)).values())


def test_a_candidate_that_the_gate_refused_is_caught_there_once_and_not_when_it_was_locked_in_the_end(
    store: Store,
) -> None:
    short = made(kind="Q4_K_M")
    short = short.record("decision", verdict="close")
    stored(store, short, locked=False)
    assert seen(store) == (1, 0, 0)
    stored(store, short, locked=False)  # another run that found the same
    assert seen(store) == (1, 0, 0)
    explored = made(profile="explore").record("artifact", sha256=samples.digest("explored"))
    stored(store, explored.record("decision", verdict="broken"), locked=False)
    assert seen(store) == (1, 0, 0)
    stored(store, made(profile="production"))  # the very file, by another plan's gate
    assert seen(store) == (0, 0, 0)


def test_an_incident_escaped_where_its_package_served_at_that_moment(store: Store) -> None:
    _, key = stored(store, made())
    package = store.get_package(key)
    assert package is not None
    first = store.open_incident(kind="regression", package=key, what="It got worse.")
    assert seen(store) == (0, 1, 0)
    store.close_incident(str(first.id), by="dora", resolution="mended", lesson=samples.LESSON)
    release(store, policy(package=package.manifest), weight=0.05, actor="ops", reason="first")
    again = store.open_incident(kind="regression", package=key, what="It got worse again.")
    (told,) = [one for one in store.incidents_served() if one.id == str(again.id)]
    assert (told.served_at, told.package, told.name) == (("chat",), key, made().plan.name)
    assert seen(store) == (0, 1, 1)
    store.roll_back("chat", actor=JUDGE, reason="Errors rose.")
    store.open_incident(kind="live rollback", package=package.manifest, what="Errors rose.")
    assert seen(store) == (0, 1, 1)  # the same damage
    store.close_incident(str(again.id), by="dora", resolution="mended", lesson=samples.LESSON)
    assert seen(store) == (0, 1, 1)


def test_a_rollback_of_a_file_without_a_package_escaped_and_one_for_want_of_counts_did_not(store: Store) -> None:
    for cause in ("blind", "damage"):
        number, version = release(store, policy(package=None), weight=0.05, actor="ops", reason="first")
        store.roll_back("chat", actor=JUDGE, reason="Errors rose.")
        told = {"revision": number, "version": version + 1, "cause": cause, "reason": "Errors rose."}
        store.append_event(JUDGE, ROLLED_BACK, "chat", told)
    assert seen(store) == (0, 0, 1)
