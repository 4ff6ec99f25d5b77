"""Migrations: from nothing, twice at once, and in step with the tables the program uses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from quantplay.errors import InputError
from quantplay.settings import Settings
from quantplay.store import schema, tables
from quantplay.store.registry import Store, open_store


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")  # of a constraint that is NOT VALID
def test_the_migrated_database_has_the_tables_of_the_program(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "compare_server_default": False,
                "version_table_schema": tables.SCHEMA,
                "include_name": lambda name, kind, parents: kind != "schema" or name == tables.SCHEMA,
            },
        )
        assert compare_metadata(context, tables.metadata) == []
        found = dict(
            connection.execute(
                sa.text(
                    "select table_name || '.' || column_name, generation_expression from information_schema.columns"
                    " where table_schema = 'quantplay' and is_generated = 'ALWAYS'"
                )
            ).all()
        )
    wanted = {f"{name}.{column}" for name, columns in tables.RECORDS.items() for column in [*columns, "body"]}
    assert set(found) == wanted | {"events.body", "policies.body", "policies.package"}


def test_two_migrators_at_once(new_database: Callable[..., str], make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(new_database(empty=True))
    barrier, identities, errors = threading.Barrier(4), [], []

    def migrate() -> None:
        barrier.wait()
        try:
            with open_store(settings) as store:
                identities.append(store.database_id)
        except Exception as error:  # noqa: BLE001 -- shown below
            errors.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(identities) == 4
    assert len(set(identities)) == 1


def test_runs_of_an_older_program_keep_the_play_they_left_at(
    new_database: Callable[..., str], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(new_database(empty=True))
    engine = sa.create_engine(sa.make_url(settings.database_url or "").set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        schema._upgrade(connection, "0004")
        key = "a" * 64
        for table, extra in (("gates", ""), ("plans", ", gate")):
            value = f", '{key}'" if extra else ""
            connection.execute(
                sa.text(
                    f"insert into quantplay.{table} (key, content, canonical{extra}) values ('{key}', '{key}', '{{}}'{value})"
                )
            )
        for number, (state, outcome, play) in enumerate(OLDER):
            run = f"00000000-0000-0000-0000-{number:012}"
            connection.execute(
                sa.text(
                    "insert into quantplay.runs (id, plan, profile, state, outcome) values (:run, :plan, 'internal', :state, :outcome)"
                ),
                {"run": run, "plan": key, "state": state, "outcome": outcome},
            )
            connection.execute(
                sa.text(
                    "insert into quantplay.run_plays (run, play, key, reused, seconds, attempt) values (:run, :play, :key, false, 1, 1)"
                ),
                {"run": run, "play": play, "key": key},
            )
    engine.dispose()
    with open_store(settings) as store:
        left = {str(one.run): one.left_at for one in store.passages()}
    assert list(left.values()) == ["ptq", "envelope", None, None]


OLDER = (
    ("finished", "locked", "ptq"), ("finished", "envelope_missed", "envelope"), ("finished", "awaiting_signature", "ptq"),
    ("failed", None, "ptq"),
)  # fmt: skip


def test_two_databases_have_two_identities(
    new_database: Callable[..., str], make_settings: Callable[..., Settings], store: Store
) -> None:
    with open_store(make_settings(new_database(empty=True))) as other:
        assert other.database_id != store.database_id
    with open_store(make_settings(other.engine.url.render_as_string(hide_password=False))) as again:
        assert again.database_id == other.database_id


def test_tables_of_others_are_left_alone(
    new_database: Callable[..., str], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(new_database(empty=True))
    engine = sa.create_engine(sa.make_url(settings.database_url or "").set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("create table events (mine int); create table alembic_version (version_num text)"))
        connection.execute(sa.text("insert into alembic_version values ('of another program')"))
    engine.dispose()
    with open_store(settings) as store:
        store.append_event("ann", "k", "s")
        with store.engine.connect() as connection:
            assert connection.scalar(sa.text("select version_num from public.alembic_version")) == "of another program"
            assert connection.scalar(sa.text("select count(*) from public.events")) == 0


def test_a_newer_program_s_database_is_refused(store: Store, database_settings: Settings) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.text("update quantplay.alembic_version set version_num = '9999'"))
    with pytest.raises(InputError, match="newer quantplay"):
        open_store(database_settings)
