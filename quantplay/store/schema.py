"""Bring a database to the tables this version knows. Two programs that start at once are safe."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from quantplay.errors import InputError
from quantplay.store import locks
from quantplay.store.tables import SCHEMA

HEAD = "0011"
"""The newest file in migrations/versions. Written here so that a database that is up to date costs no import of Alembic."""

TABLES_THERE = sa.text("select table_name from information_schema.tables where table_schema = :schema")


def ensure_schema(engine: Engine) -> None:
    """Run the missing migrations in one transaction, under an advisory lock. InputError for a newer program's database."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(locks.MIGRATION)))
        if _revision(connection) != HEAD:
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if connection.scalar(sa.text("select to_regclass(:name)"), {"name": f"{SCHEMA}.alembic_version"}) is None:
        return None
    return connection.scalar(sa.text(f"select version_num from {SCHEMA}.alembic_version"))  # noqa: S608


def _upgrade(connection: Connection, to: str = "head") -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    now = _revision(connection)
    if now is not None and now not in known:
        raise InputError(
            "the database was made by a newer quantplay",
            value=f"tables {now}",
            allowed=f"tables up to {HEAD}",
            fix="upgrade this installation: pip install --upgrade quantplay",
        )
    found = set(connection.scalars(TABLES_THERE, {"schema": SCHEMA}))
    if now is None and found - {"alembic_version"}:
        raise InputError(
            f"the schema `{SCHEMA}` of this database holds tables quantplay did not make, or whose version was lost",
            value=", ".join(sorted(found)),
            allowed="an empty database, or one that quantplay made",
            fix="name another database, or restore this one from a backup",
        )
    connection.execute(sa.text(f"create schema if not exists {SCHEMA}"))
    command.upgrade(config, to)
