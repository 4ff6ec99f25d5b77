"""Databases that can't be used: the exit code, a message that helps, no password in it, nothing half-made inside.

URLs that can't work are in test_store_connect.py and tests/unit/test_bad_input_commands.py. A server older than PostgreSQL 14
can't be had from a wheel; its version number is refused in test_store_connect.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from quantplay.errors import QuantplayError
from quantplay.settings import Settings
from quantplay.store.registry import open_store

SECRET = "T0psecret"
EVERYTHING = sa.text(
    "select table_schema, table_name from information_schema.tables"
    " where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2"
)

# (name, SQL inside the database, changes to the URL, exit code, words of the message)
DATABASES: list[tuple[str, list[str], dict[str, object], int, tuple[str, ...]]] = [
    ("a database of a newer quantplay", ["update quantplay.alembic_version set version_num = '9999'"], {}, 2,
     ("made by a newer quantplay", "tables 9999", "upgrade this installation")),
    ("a schema of somebody else", ["drop schema quantplay cascade", "create schema quantplay", "create table quantplay.runs (x int)"], {}, 2,
     ("holds tables quantplay did not make", "runs")),
    ("tables without their version", ["delete from quantplay.alembic_version"], {}, 2, ("holds tables quantplay did not make",)),
    ("tables without their identity", ["delete from quantplay.meta"], {}, 2, ("has lost its identity", "restore it from a backup")),
    ("a table that was dropped", ["drop table quantplay.meta"], {}, 2, ("lacks what this version needs", "restore it from a backup")),
    ("a read-only database", ["drop schema quantplay cascade", "alter database {name} set default_transaction_read_only = on"], {}, 2,
     ("can't be written", "read-only")),
    ("a database that takes no connection", ["alter database {name} with allow_connections false"], {}, 3, ("not currently accepting connections",)),
    ("an option nobody knows", [], {"query": {"speed": "fast"}}, 2, ("QUANTPLAY_DATABASE_URL", "speed")),
    ("a timeout that is a word", [], {"query": {"connect_timeout": "soon"}}, 2, ("QUANTPLAY_DATABASE_URL", "connect_timeout")),
    ("encryption the server does not have", [], {"host": "127.0.0.1", "port": 1, "query": {"sslmode": "require"}}, 3, ("does not answer",)),
    ("a certificate that is not there", [], {"query": {"sslmode": "verify-full", "sslrootcert": "/nowhere.pem"}, "host": "localhost", "port": 1}, 3, ("does not answer",)),
]  # fmt: skip


def refusal(settings: Settings) -> QuantplayError:
    with pytest.raises(QuantplayError) as caught:
        open_store(settings)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize(
    ("name", "statements", "changes", "code", "words"), DATABASES, ids=[row[0] for row in DATABASES]
)
def test_a_bad_database(
    new_database: Callable[..., str], make_settings: Callable[..., Settings], server: tuple[URL, Engine],
    name: str, statements: list[str], changes: dict[str, object], code: int, words: tuple[str, ...],
) -> None:  # fmt: skip
    address = sa.make_url(new_database())
    inside = sa.create_engine(
        address.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    closed = any("allow_connections" in statement for statement in statements)
    for statement in statements:
        with (server[1] if "alter database" in statement else inside).connect() as connection:
            connection.execute(sa.text(statement.format(name=address.database)))
    before = [] if closed else tables_of(inside)
    query = {**address.query, **changes.pop("query", {})} if "host" not in changes else changes.pop("query", {})  # type: ignore[dict-item]
    url = address.set(password=SECRET, query=query, **changes)  # type: ignore[arg-type]
    error = refusal(make_settings(url.render_as_string(hide_password=False)))
    assert error.exit_code == code, error
    assert error.allowed or error.fix, error
    assert all(word in str(error) for word in words), error
    assert closed or tables_of(inside) == before
    inside.dispose()


def tables_of(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(EVERYTHING)]


def test_a_database_that_can_not_hold_every_text(
    make_settings: Callable[..., Settings], server: tuple[URL, Engine]
) -> None:
    url, engine = server
    with engine.connect() as connection:
        connection.execute(sa.text("create database latin encoding 'LATIN1' locale 'C' template template0"))
    try:
        error = refusal(make_settings(url.set(database="latin", drivername="postgresql").render_as_string(False)))
        assert error.exit_code == 2
        assert all(word in str(error) for word in ("LATIN1", "UTF8", "createdb"))
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text("drop database latin with (force)"))


def test_a_user_without_rights_on_the_tables(
    new_database: Callable[..., str], make_settings: Callable[..., Settings], server: tuple[URL, Engine]
) -> None:
    url = sa.make_url(new_database())
    with server[1].connect() as connection:
        connection.execute(sa.text(f"create role nothing_allowed login password '{SECRET}'"))
    try:
        asked = url.set(username="nothing_allowed", password=SECRET).render_as_string(False)
        error = refusal(make_settings(asked))
        assert error.exit_code == 2
        assert all(word in str(error) for word in ("may not do this", "permission denied", "grant"))
    finally:
        with server[1].connect() as connection:
            connection.execute(sa.text("drop role nothing_allowed"))


def test_a_database_that_becomes_read_only(database_settings: Settings, server: tuple[URL, Engine]) -> None:
    """As a replica, or after `alter database`: reading goes on, writing says why it does not."""
    with open_store(database_settings) as store:
        with server[1].connect() as connection:
            connection.execute(
                sa.text(f"alter database {store.engine.url.database} set default_transaction_read_only = on")
            )
        store.engine.dispose()
        assert not store.list_runs(5)
        with pytest.raises(QuantplayError) as caught:
            store.append_event("ann", "k", "s")
        assert caught.value.exit_code == 2
        assert "read-only" in str(caught.value)
        assert not caught.value.transient
