"""Hear of changed traffic at once: a connection that listens for PostgreSQL's notifications. One that is lost says nothing, so who
listens reads again after a while all the same."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine

from quantplay.store import connect
from quantplay.store.traffic import CHANNEL


class Listener:
    """Use it in a `with` block, from one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with connect.translated(engine.url):
            self.connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self.connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        self.driver: Any = self.connection.connection.driver_connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, seconds: float) -> bool:
        """Whether something changed within `seconds`. Raises ServiceUnavailable where the connection is gone."""
        import psycopg

        from quantplay.errors import ServiceUnavailable

        try:
            return any(True for _ in self.driver.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error as error:
            raise ServiceUnavailable("the database went away", value=connect.shown(self.engine.url)) from error

    def close(self) -> None:
        """The connection is not given back: it listens."""
        self.connection.invalidate()
        self.connection.close()
