"""From a database URL to an engine, and from the driver's errors to ours. A password never leaves this file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError, SQLAlchemyError

from quantplay.errors import Conflict, InputError, IntegrityError, QuantplayError, ServiceUnavailable

OLDEST_SERVER = 140000  # server_version_num of PostgreSQL 14
ALLOWED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
SCHEMES = {"postgres", "postgresql", "postgresql+psycopg"}
# A machine that is lost says no good-bye: 15 s of silence, then 3 probes 10 s apart, and the other side gives it up.
CLIENT_KEEPALIVES = {
    "keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 45_000
}  # fmt: skip
SERVER_KEEPALIVES = {
    "tcp_keepalives_idle": 15, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3, "tcp_user_timeout": 45_000
}  # fmt: skip
REFUSED_EVENT = "QP001"  # SQLSTATE our own trigger raises
REFUSED_TRAFFIC, LATCHED, FENCED = "QP002", "QP003", "QP004"  # by migration 0006
REFUSED_ALIAS = "QP005"  # by migration 0008


def parse_url(text: str) -> URL:
    """The URL with our driver; InputError for anything but PostgreSQL. The text itself is never shown."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InputError("QUANTPLAY_DATABASE_URL is not a database URL", allowed=ALLOWED) from error
    if url.drivername not in SCHEMES:
        raise InputError(
            "QUANTPLAY_DATABASE_URL names a database or driver quantplay does not use",
            value=url.drivername,
            allowed=f"PostgreSQL 14 or newer: {ALLOWED}",
            fix="unset QUANTPLAY_DATABASE_URL to use the embedded PostgreSQL",
        )
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The URL for people: no password, and options only where one is the host."""
    host = {"host": url.query["host"]} if "host" in url.query else {}
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, host)
    return bare.render_as_string().replace("%2F", "/")


def make_engine(url: URL) -> Engine:
    """An engine that connects lazily, checks a pooled connection before use and gives up connecting after 10 s."""
    arguments = {
        name: value for name, value in {"connect_timeout": 10, **CLIENT_KEEPALIVES}.items() if name not in url.query
    }
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=20,
        connect_args={"application_name": "quantplay", **arguments},
    )
    event.listen(engine, "connect", _ask_server_for_keepalives)
    return engine


def _ask_server_for_keepalives(connection: Any, record: object) -> None:
    """The server's side: it frees the locks of a client whose machine is gone only when it notices. Ignored on a Unix socket."""
    before, connection.autocommit = connection.autocommit, True
    try:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"set {name} = {value}" for name, value in SERVER_KEEPALIVES.items()))
    finally:
        connection.autocommit = before


def check_version(number: int) -> None:
    """Refuse a server older than 14. `number` as in `server_version_num`, 140005 for 14.5."""
    if number < OLDEST_SERVER:
        raise InputError(
            "the PostgreSQL server is too old",
            value=f"{number // 10000}.{number % 10000}",
            allowed="14 or newer",
            fix="upgrade the server, or unset QUANTPLAY_DATABASE_URL to use the embedded PostgreSQL",
        )


def check_encoding(name: str, url: URL) -> None:
    """Refuse a database that can't hold every text. `name` as in `server_encoding`."""
    if name != "UTF8":
        raise InputError(
            "the database can't hold every text: it was made with another encoding",
            value=f"{name} in {shown(url)}",
            allowed="UTF8",
            fix=f"createdb --encoding UTF8 --template template0 NAME on that server, in place of {url.database}",
        )


@contextlib.contextmanager
def translated(url: URL) -> Iterator[None]:
    """Errors of the database inside the block become ours; what to do depends on what went wrong."""
    try:
        yield
    except DBAPIError as error:
        # `from None`: the driver's exception holds the connection's parameters.
        raise _ours(error, url) from None
    except NoSuchModuleError as error:
        raise InputError("the database driver is not installed", value=str(error), fix="pip install psycopg") from None
    except SQLAlchemyError as error:
        raise ServiceUnavailable(
            "the database can't be used", value=_clean(str(error), url), fix="try again; see `quantplay doctor`"
        ) from None


def _clean(text: str, url: URL) -> str:
    secrets = [url.password, *(url.query.get(name) for name in ("password", "sslpassword"))]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _ours(error: DBAPIError, url: URL) -> QuantplayError:
    state = getattr(error.orig, "sqlstate", None) or ""
    text = _clean(" ".join(str(error.orig).split()), url)
    where = shown(url)
    low = text.lower()
    if state == REFUSED_EVENT:
        return IntegrityError(f"the database refused to change the event chain: {text}")
    if state in {REFUSED_TRAFFIC, LATCHED, FENCED}:
        return refused_traffic(state, text)
    if state == REFUSED_ALIAS:
        return InputError(text.partition(" CONTEXT:")[0], fix="`quantplay registry` lists the locked packages")
    if state in {"28P01", "28000"} or "password authentication failed" in low or "no password supplied" in low:
        return InputError(
            f"the database refused the user or the password: {text}",
            value=where,
            fix="correct QUANTPLAY_DATABASE_URL; characters such as @ : / in a password are written %40 %3A %2F",
        )
    if state == "3D000" or ('database "' in low and "does not exist" in low):
        return InputError(
            "the database does not exist", value=where, fix=f"createdb {url.database or url.username}, on that server"
        )
    if state == "42501":
        return InputError(
            f"the database user may not do this: {text}",
            value=where,
            fix="grant it CREATE on the database: quantplay keeps its tables in a schema of its own, `quantplay`",
        )
    if state == "25006":
        return InputError(
            f"the database can't be written: {text}",
            value=where,
            allowed="a primary server; a replica or a read-only database can't keep a run",
            fix="name the primary in QUANTPLAY_DATABASE_URL, or `alter database ... reset default_transaction_read_only`",
        )
    if not state and isinstance(error, ProgrammingError):  # the driver itself, before it talked to anybody
        return InputError(
            f"QUANTPLAY_DATABASE_URL holds an option that can't be used: {text}",
            allowed="libpq's connection options, such as ?sslmode=require&connect_timeout=10",
            fix="correct it, or remove it",
        )
    if state in {"42P01", "42703", "3F000"}:
        return IntegrityError(
            f"the database lacks what this version needs: {text}",
            fix="restore it from a backup, or name an empty database",
        )
    if state in {"22P05", "22021"}:
        return InputError(
            "a text holds a character PostgreSQL can't store (NUL)", fix="remove \\u0000 from the plan or the input"
        )
    if state == "53100" or "no space left" in low:
        return ServiceUnavailable("the database's disk is full", value=text, fix="free space there and run again")
    if state[:2] in {"22", "23", "42"}:
        return IntegrityError(
            f"the database refused a row: {text}", fix="see that database and program have one version"
        )
    return ServiceUnavailable(
        f"the database does not answer: {text}",
        value=where,
        fix="see that the server runs and can be reached; "
        "or unset QUANTPLAY_DATABASE_URL to use the embedded PostgreSQL",
    )


def refused_traffic(state: str, text: str) -> InputError:
    """What the traffic pointer's own rules refuse."""
    said = text.partition(" CONTEXT:")[0]
    if state == LATCHED:
        return Conflict(said, fix="`quantplay release` makes a new revision")
    if state == FENCED:
        return Conflict(
            said,
            fix="another controller took over, or this one was away too long: look at what is in force and try again",
        )
    return InputError(f"the database refused to change traffic so: {said}")
