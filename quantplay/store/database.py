"""An open database: its engine, transactions, and how long it is waited for. What the parts of a Store share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from uuid import UUID

from sqlalchemy import Connection, Engine

from quantplay.store import connect


class Database:
    """Every public method of its subclasses is one transaction, and may be called again with the same arguments."""

    def __init__(self, engine: Engine, database_id: UUID) -> None:
        self.engine = engine
        self.database_id = str(database_id)  # made once with the tables: tells one database from another
        self.patience_seconds = 0.0
        self.revive: Callable[[], object] = lambda: None  # starts the server again where it is ours to start
        self.say: Callable[[str], None] = lambda text: None

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Connection]:
        with connect.translated(self.engine.url), self.engine.begin() as connection:
            yield connection
