"""The Store: what adoption is counted from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from quantplay.plan import BusinessCase
from quantplay.records import Digest
from quantplay.store import volume
from quantplay.store.database import Database
from quantplay.store.patience import patiently
from quantplay.store.volume import Counted, Policy, Tried


class AdoptionRegistry(Database):
    """Each look-up is one query, however much was counted."""

    @patiently
    def counted_volume(self, since: date | None) -> tuple[Counted, ...]:
        """What gateways counted, a row a day from `since` on; None: one row since they began to count."""
        with self._begin() as connection:
            return volume.counted(connection, since)

    @patiently
    def policies_there(self) -> tuple[Policy, ...]:
        """What each revision of each endpoint served."""
        with self._begin() as connection:
            return volume.policies(connection)

    @patiently
    def tried_models(self) -> tuple[Tried, ...]:
        """How every run went, oldest first."""
        with self._begin() as connection:
            return volume.tried(connection)

    @patiently
    def business_cases(self) -> Mapping[Digest, BusinessCase]:
        """Plan -> its business case, of plans that have one."""
        with self._begin() as connection:
            return volume.business_cases(connection)
