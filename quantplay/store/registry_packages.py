"""The Store: looking locked packages up, their names, and the history of a model."""

from __future__ import annotations

from quantplay.records import Digest
from quantplay.store import aliases, catalogue, model_history
from quantplay.store.aliases import Alias
from quantplay.store.catalogue import Entry, Wanted
from quantplay.store.database import Database
from quantplay.store.model_history import Moment
from quantplay.store.patience import patiently


class PackageRegistry(Database):
    """Each look-up is one query, or two with an alias, however many packages there are."""

    @patiently
    def find_packages(self, wanted: Wanted = Wanted()) -> tuple[Entry, ...]:  # noqa: B008 - frozen
        """Locked packages that are `wanted`, newest first; all without."""
        with self._begin() as connection:
            return catalogue.find(connection, wanted)

    @patiently
    def package_named(self, name: str) -> Entry:
        """The locked package of this alias, or whose key starts so. Raises InputError where there is none, or several."""
        with self._begin() as connection:
            return catalogue.named(connection, name)

    @patiently
    def set_alias(self, name: str, package: Digest, *, actor: str, reason: str) -> Alias:
        """Let `name` stand for a locked package from now on, with an event; what it stood for before is kept."""
        with self._begin() as connection:
            return aliases.point(connection, name, package, actor=actor, reason=reason)

    @patiently
    def alias_history(self, name: str | None = None, package: Digest | None = None) -> tuple[Alias, ...]:
        """What names stood for, newest first: all of them, one name's, or those that a package ever had."""
        with self._begin() as connection:
            return aliases.history(connection, name=name, package=package)

    @patiently
    def model_history(self, model: str) -> tuple[Moment, ...]:
        """Oldest first. model: a plan's name, a model's source, or the first characters of its digest."""
        with self._begin() as connection:
            return model_history.of_model(connection, model)
