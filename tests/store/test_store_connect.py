"""URLs that can't work, and what the user is told; a password is never part of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from quantplay.errors import InputError, QuantplayError, ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store import connect
from quantplay.store.registry import open_store

SECRET = "pa/ss:w@rd-T0psecret"


def refused(settings: Settings) -> QuantplayError:
    with pytest.raises(QuantplayError) as caught:
        open_store(settings)
    told = "".join(traceback.format_exception(caught.value))
    for secret in (SECRET, "T0psecret"):
        assert secret not in told
    return caught.value


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("sqlite:///file.db", "sqlite"),
        ("sqlite://", "sqlite"),
        ("mysql://u:T0psecret@h/d", "mysql"),
        ("postgresql+asyncpg://u:T0psecret@h/d", "asyncpg"),
        ("postgresql+psycopg2://h/d", "psycopg2"),
        ("http://example.com", "http"),
    ],
)
def test_only_postgresql(make_settings: Callable[..., Settings], url: str, scheme: str) -> None:
    error = refused(make_settings(url))
    assert isinstance(error, InputError)
    assert scheme in str(error)
    assert "postgresql://" in str(error)


@pytest.mark.parametrize("url", ["no url", "T0psecret", "postgresql://u:T0psecret@h:port/d", "postgresql:/T0psecret"])
def test_what_is_no_url_is_not_shown(make_settings: Callable[..., Settings], url: str) -> None:
    assert isinstance(refused(make_settings(url)), InputError)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_usual_spellings(scheme: str) -> None:
    assert connect.parse_url(f"{scheme}://u@h/d").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:T0psecret@127.0.0.1:1/db",
        "postgres://ann@127.0.0.1:1/db?password=T0psecret",
        "postgresql://ann:T0psecret@/db?host=/nowhere",
        "postgresql://ann:T0psecret@no-such-host.invalid/db",
    ],
)
def test_nobody_there(make_settings: Callable[..., Settings], url: str) -> None:
    error = refused(make_settings(url))
    assert isinstance(error, ServiceUnavailable)
    assert error.exit_code == 3
    assert "ann@" in str(error)
    assert "QUANTPLAY_DATABASE_URL" in str(error)


@pytest.fixture(scope="module")
def guarded(server: tuple[URL, Engine]) -> URL:
    """A user who needs a password, and may not create anything."""
    url, engine = server
    host = url.query["host"]
    rules = Path(str(host)) / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    with engine.connect() as connection:
        connection.execute(sa.text(f"create role guarded login password '{SECRET}'"))
        connection.execute(sa.text("create database guarded"))
        connection.execute(sa.text("select pg_reload_conf()"))
    return url.set(username="guarded", password=SECRET, database="guarded", drivername="postgresql")


def test_wrong_password(make_settings: Callable[..., Settings], guarded: URL) -> None:
    for password in ("T0psecret", None):
        url = guarded._replace(password=password).render_as_string(hide_password=False)
        error = refused(make_settings(url))
        assert isinstance(error, InputError)
        assert "password" in str(error)


def test_database_that_is_not_there(make_settings: Callable[..., Settings], guarded: URL) -> None:
    error = refused(make_settings(guarded.set(database="missing").render_as_string(hide_password=False)))
    assert isinstance(error, InputError)
    assert "createdb missing" in str(error)


def test_a_user_who_may_not_create_and_then_may(
    make_settings: Callable[..., Settings], guarded: URL, server: tuple[URL, Engine]
) -> None:
    settings = make_settings(guarded.render_as_string(hide_password=False))
    error = refused(settings)
    assert isinstance(error, InputError)
    assert "CREATE" in str(error)
    with server[1].connect() as connection:
        connection.execute(sa.text("grant create on database guarded to guarded"))
    with open_store(settings) as store:
        assert SECRET not in store.where
        assert "guarded" in store.where
        store.append_event("ann", "k", "s")


def test_old_servers() -> None:
    connect.check_version(140000)
    connect.check_version(180004)
    with pytest.raises(InputError, match=r"13\.22"):
        connect.check_version(130022)
    with pytest.raises(InputError, match="14 or newer"):
        connect.check_version(90624)


def test_a_server_that_goes_away_is_a_transient_error(database_settings: Settings, server: tuple[URL, Engine]) -> None:
    end = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name")
    with open_store(database_settings) as store:
        with store.engine.connect() as connection, server[1].connect() as other:
            connection.execute(sa.text("select 1"))
            other.execute(end, {"name": store.engine.url.database})
            with pytest.raises(ServiceUnavailable) as caught, connect.translated(store.engine.url):
                connection.execute(sa.text("select 1"))
            assert caught.value.transient
        store.append_event("ann", "k", "s")  # the next transaction gets a new connection
