"""The Store: policies and where traffic goes, what gateways counted, and what the judge said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from quantplay.records.traffic import (
    CounterRow,
    FeedbackRow,
    PolicyRevision,
    RequestRow,
    ServedBy,
    State,
    TrafficPolicy,
)
from quantplay.store import drift, gateways, retention, tables, telemetry, traffic
from quantplay.store.database import Database
from quantplay.store.gateways import FeedbackWaiting, GatewaySeen
from quantplay.store.patience import patiently
from quantplay.store.telemetry import Totals
from quantplay.store.traffic import Change


class LiveRegistry(Database):
    """Play 8. Nothing here waits for the event chain: what changes traffic is noted by the database itself, in `traffic_changes`."""

    # --- policies and the pointer ----------------------------------------------------------------------------------------

    def add_policy(self, policy: PolicyRevision, actor: str) -> int:
        """Write the next revision of its endpoint; returns its number. Not idempotent: every call is a revision."""
        with self._begin() as connection:
            return traffic.add_policy(connection, policy, actor)

    @patiently
    def policy_revision(self, endpoint: str, revision: int) -> PolicyRevision:
        with self._begin() as connection:
            return traffic.policy_of(connection, endpoint, revision)

    def take_lease(self, endpoint: str, holder: str, seconds: float = 60) -> int:
        """The right to give the quantized model more traffic; its epoch. Raises Conflict while another controller has it."""
        with self._begin() as connection:
            return traffic.take_lease(connection, endpoint, holder, seconds)

    def give_lease(self, endpoint: str, holder: str) -> None:
        with self._begin() as connection:
            traffic.give_lease(connection, endpoint, holder)

    def point(
        self, endpoint: str, *, revision: int, state: State, weight: float, epoch: int, expected: int | None, actor: str,
        reason: str,
    ) -> int:  # fmt: skip
        """Compare and swap under a lease; the new version. Raises Conflict where somebody was first."""
        with self._begin() as connection:
            return traffic.point(
                connection, endpoint, revision=revision, state=state, weight=weight, epoch=epoch, expected=expected,
                actor=actor, reason=reason,
            )  # fmt: skip

    @patiently
    def roll_back(self, endpoint: str, *, actor: str, reason: str, revision: int | None = None) -> int | None:
        """Full precision for everybody, whatever else goes on; None where it was so already."""
        with self._begin() as connection:
            return traffic.roll_back(connection, endpoint, actor=actor, reason=reason, revision=revision)

    @patiently
    def switch_off(self, endpoint: str, *, actor: str, reason: str) -> int | None:
        """The kill switch."""
        with self._begin() as connection:
            return traffic.switch_off(connection, endpoint, actor=actor, reason=reason)

    @patiently
    def traffic_policies(self, endpoint: str | None = None) -> tuple[TrafficPolicy, ...]:
        with self._begin() as connection:
            return traffic.in_force(connection, endpoint)

    @patiently
    def traffic_changes(self, endpoint: str, since_version: int = 0) -> tuple[Change, ...]:
        with self._begin() as connection:
            return traffic.changes(connection, endpoint, since_version)

    # --- counters --------------------------------------------------------------------------------------------------------

    def write_live(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow] = ()) -> None:
        """What a gateway flushes; the same again changes nothing."""
        with self._begin() as connection:
            telemetry.write(connection, rows, requests)

    @patiently
    def live_totals(self, endpoint: str, revision: int) -> Totals:
        with self._begin() as connection:
            return telemetry.totals(connection, endpoint, revision)

    @patiently
    def live_minutes(
        self, endpoint: str, revision: int, since: int = 1
    ) -> dict[int, dict[tuple[ServedBy, str], int]]:  # fmt: skip
        with self._begin() as connection:
            return telemetry.minutes(connection, endpoint, revision, since)

    @patiently
    def live_day(self, endpoint: str, day: date, prefix: str) -> dict[str, int]:
        """What was counted once a day, over all revisions."""
        with self._begin() as connection:
            return drift.day_sums(connection, endpoint, day, prefix)

    @patiently
    def live_texts(self, endpoint: str, day: date, most: int) -> list[str]:
        """Prompts of a day that were stored, redacted."""
        with self._begin() as connection:
            return drift.day_texts(connection, endpoint, day, most)

    @patiently
    def forget_live(self, *, requests_before: date, minutes_before: int) -> int:
        with self._begin() as connection:
            return telemetry.forget(connection, requests_before=requests_before, minutes_before=minutes_before)

    @patiently
    def roll_up_live(self, before_minute: int) -> None:
        """Minutes before become hours; what was counted stays the same."""
        with self._begin() as connection:
            retention.roll_up(connection, before_minute)

    @patiently
    def thin_out_judgements(self, *, hourly_before: datetime, none_before: datetime) -> None:
        with self._begin() as connection:
            retention.thin_out(connection, hourly_before=hourly_before, none_before=none_before)

    # --- gateways --------------------------------------------------------------------------------------------------------

    def gateway_is_there(self, source: str, name: str, versions: Mapping[str, int]) -> None:
        """What a gateway says every few seconds: endpoint -> version of the pointer it goes by."""
        with self._begin() as connection:
            gateways.beat(connection, source, name, versions)

    @patiently
    def gateways_seen(self, within_seconds: float = 900) -> tuple[GatewaySeen, ...]:
        with self._begin() as connection:
            return gateways.seen(connection, within_seconds)

    def exchange_feedback(
        self, given: Sequence[FeedbackRow] = (), settled: Sequence[FeedbackRow] = (), since: datetime | None = None
    ) -> FeedbackWaiting:
        """Leave feedback on other gateways' answers, take away what is counted, and see what was left since `since`."""
        with self._begin() as connection:
            return gateways.exchange_feedback(connection, given, settled, since)

    # --- the judge -------------------------------------------------------------------------------------------------------

    @patiently
    def put_judgement(self, endpoint: str, revision: int, at: int, verdict: Mapping | str) -> None:
        """What the judge said at `at` (Unix time), canonical JSON; the first word stays."""
        row = {"endpoint": endpoint, "revision": revision, "at": datetime.fromtimestamp(at, UTC), "verdict": verdict}
        with self._begin() as connection:
            connection.execute(insert(tables.live_judgements).values(row).on_conflict_do_nothing())

    @patiently
    def judgements(
        self, endpoint: str, revision: int, newest: int | None = None, most: int | None = None
    ) -> tuple[str, ...]:  # fmt: skip
        """Canonical JSON of verdicts, oldest first; `newest`: only so many; `most`: so many evenly over all, the newest among them."""
        table = tables.live_judgements
        query = sa.select(table.c.verdict).where(table.c.endpoint == endpoint, table.c.revision == revision)
        with self._begin() as connection:
            if most is not None:
                query = thinned(endpoint, revision, most)
            found = connection.scalars(query.order_by(table.c.at.desc()).limit(newest)).all()
        return tuple(reversed(found))


def thinned(endpoint: str, revision: int, most: int) -> sa.Select:
    """About `most` verdicts of a revision."""
    table = tables.live_judgements
    mine = (table.c.endpoint == endpoint) & (table.c.revision == revision)
    places = sa.select(
        table.c.at,
        (sa.func.row_number().over(order_by=table.c.at.desc()) - 1).label("place"),
        sa.func.count().over().label("all"),
    ).where(mine).subquery()  # fmt: skip
    step = sa.func.greatest(1, sa.func.ceil(places.c.all / sa.literal(float(most))))
    kept = sa.select(places.c.at).where(sa.func.mod(places.c.place, sa.cast(step, sa.BigInteger)) == 0)
    return sa.select(table.c.verdict).where(mine, table.c.at.in_(kept))
