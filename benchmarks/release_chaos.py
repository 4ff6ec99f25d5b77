"""kill -9 while models are released, promoted and taken back: `python -m benchmarks.release_chaos [--quick] [--kills N]`.

A gateway, a judge that looks every second and a PostgreSQL of their own work under traffic. At `chat` people release and roll back; at `busy`
a controller does so all the time; `ramp` is promoted by the judge, and `bad`, whose users say so, is taken back by it. At 200 moments drawn by
chance (--quick: 12) one of gateway, judge, PostgreSQL's first process or another process of it is killed and started again, and a rollback of `chat` is ordered
about that moment, again and again until it is acknowledged. Afterwards the pointer's rules have to hold in its whole history, what was
acknowledged has to be there, no counter may have fallen, and the event chain has to verify. The delay is from the restart, or from the order
where that came later, to the last request that the quantized model still answered.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import psutil
import sqlalchemy as sa

from benchmarks.gateway_lab import upstream
from benchmarks.live_lab import (
    Clients,
    Ground,
    Service,
    arms,
    free_port,
    gateway_service,
    ground,
    released,
    service,
    until_ready,
)
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from quantplay.errors import Conflict, ServiceUnavailable
from quantplay.live.gateway.files import read_policies
from quantplay.live.tick import promote
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import SERVING, CounterRow, ServedArm
from quantplay.store.embedded import server_pid, start_embedded
from quantplay.store.registry import Store
from quantplay.store.traffic import Change

SEED = 20261122
TARGETS = ("gateway", "judge", "PostgreSQL", "one process of PostgreSQL")
RATE = 20.0
QUICK_KILLS = 12
LIMIT_SECONDS = 10.0
START_SECONDS = 180.0  # a busy machine may take that long to start a gateway
QUIET_SECONDS = 1.0  # of answers without the quantized model before a rollback counts as in force
SOURCE = "00000000-0000-0000-0000-0000000000c5"
RAMP = RollbackRules(min_conversations=1000)
TOLD_WITHIN, HELD_AFTER = timedelta(seconds=6), timedelta(seconds=20)
Key = tuple[object, ...]


@dataclass(kw_only=True)
class People:
    """Who changes traffic beside the judge; everything that was acknowledged to them is kept."""

    store: Store
    both: dict[str, ServedArm]
    acknowledged: list[tuple[str, int, str]] = field(default_factory=list)  # endpoint, version, state
    ended: threading.Event = field(default_factory=threading.Event)
    refused: Counter[str] = field(default_factory=Counter)

    def insist(self, job: Callable[[], None]) -> None:
        """Until it is done; the database may be away."""
        while not self.ended.is_set():
            try:
                job()
                return
            except (ServiceUnavailable, Conflict) as error:
                self.refused[type(error).__name__] += 1
                time.sleep(0.1)

    def release(self, endpoint: str, weight: float, rules: RollbackRules | None = None) -> None:
        _, version = released(self.store, endpoint, self.both, weight=weight, rules=rules)
        self.acknowledged.append((endpoint, version, "canary"))

    def roll_back(self, endpoint: str) -> None:
        version = self.store.roll_back(endpoint, actor="on-call", reason="a benchmark")
        if version is not None:
            self.acknowledged.append((endpoint, version, "rolled_back"))

    def step(self, endpoint: str, dice: random.Random) -> None:
        """Whatever comes next at `busy`: a release, more traffic, or a rollback."""
        (policy,) = self.store.traffic_policies(endpoint)
        if policy.state not in SERVING:
            self.release(endpoint, 0.1)
        elif policy.weight < 0.9 and dice.random() < 0.7:
            promote(
                self.store, policy, self.store.policy_revision(endpoint, policy.revision), policy.weight + 0.1, "busy"
            )
        else:
            self.roll_back(endpoint)

    def keep_busy(self, dice: random.Random) -> None:
        while not self.ended.wait(dice.uniform(0, 0.4)):
            self.insist(lambda: self.step("busy", dice))

    def keep_ramps(self) -> None:
        """Counts for `ramp` as if it had much traffic; `ramp` and `bad` begin anew where the judge is done with them."""
        sums: Counter[tuple[int, str]] = Counter()

        def step() -> None:
            (ramp,), (bad,) = self.store.traffic_policies("ramp"), self.store.traffic_policies("bad")
            changed = self.store.traffic_changes("ramp", ramp.version - 1)[-1].at
            # The judge holds where these counts came by the share before: begin anew.
            held = datetime.now(UTC) - changed > HELD_AFTER
            if ramp.state not in SERVING or ramp.weight > 0.9 or held:
                self.release("ramp", 0.05, RAMP)
            elif self.store.traffic_policies("ramp") == (ramp,):
                rows = []
                for arm, share in (("quantized", ramp.weight), ("full_precision", 1 - ramp.weight)):
                    sums[ramp.revision, arm] += round(40_000 * share)
                    rows.append(
                        CounterRow.model_validate(
                            {"source": SOURCE, "endpoint": "ramp", "revision": ramp.revision, "minute": 0, "arm": arm,
                             "name": "conversations", "value": sums[ramp.revision, arm]}
                        )
                    )  # fmt: skip
                self.store.write_live(rows)
            back = self.store.traffic_changes("bad", bad.version - 1)[-1].at
            # A judge that was killed before it told of its rollback finds it at its next look.
            if bad.state not in SERVING and datetime.now(UTC) - back > TOLD_WITHIN:
                self.release("bad", 0.5)

        while not self.ended.wait(0.5):
            self.insist(step)


@dataclass(frozen=True, kw_only=True)
class Kill:
    target: str
    before: bool  # the rollback was ordered before the kill
    delay: float
    faults: tuple[str, ...]


@dataclass(kw_only=True)
class Watcher:
    """What must never be otherwise, whatever was killed."""

    store: Store
    people: People
    counters: dict[Key, int] = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        told = {name: self.store.traffic_changes(name) for name in ("chat", "busy", "ramp", "bad")}
        pointers = {one.endpoint: one for one in self.store.traffic_policies()}
        for name, changes in told.items():
            yield from (f"{name}: {fault}" for fault in history_faults(changes))
            last, now = changes[-1], pointers[name]
            if now.version < last.version or (
                now.version == last.version
                and (now.revision, now.state, now.weight) != (last.revision, last.state, last.weight)
            ):
                yield f"{name}: the pointer is not what was last noted"
        noted = {(name, one.version): one.state for name, changes in told.items() for one in changes}
        for name, version, state in tuple(self.people.acknowledged):
            if noted.get((name, version)) != state and version <= told[name][-1].version:
                yield f"{name}: version {version} was acknowledged as {state} and is {noted.get((name, version))}"
        with self.store.engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT endpoint, revision, minute, arm, name, source, value FROM quantplay.live_counters")
            )
            now_counted = {tuple(row[:-1]): row[-1] for row in rows}
        fell = [key for key, value in self.counters.items() if now_counted.get(key, 0) < value]
        if fell:
            yield f"{len(fell)} counters fell, such as {fell[0]}"
        self.counters = now_counted
        yield from self.store.verify_events()


def history_faults(changes: Sequence[Change]) -> Iterator[str]:
    """Where the pointer's rules were broken in its history."""
    if [one.version for one in changes] != [*range(1, len(changes) + 1)]:
        yield "its versions have gaps"
    for before, after in itertools.pairwise(changes):
        where = f"version {after.version}"
        if after.revision < before.revision:
            yield f"{where}: an older revision came back"
        if after.revision == before.revision and before.state == "rolled_back" and after.state in SERVING:
            yield f"{where}: came back after its rollback"
        if after.state not in SERVING and after.weight != 0:
            yield f"{where}: {after.state} with {after.weight} of the traffic"
        if after.revision > before.revision and after.state not in ("locked", "canary"):
            yield f"{where}: a new revision began as {after.state}"


@dataclass(kw_only=True)
class Chaos:
    here: Ground
    people: People
    watcher: Watcher
    clients: Clients
    gateway: Service
    judge: Service
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    judge_ended: int = 0  # by itself

    def strike(self, target: str) -> float:
        """Kill it, start it again; the moment of the start."""
        if target in ("gateway", "judge"):
            found = self.gateway if target == "gateway" else self.judge
            found.kill()
            time.sleep(self.dice.uniform(0, 1))
            return found.start()
        pid = server_pid(self.here.home)
        assert pid is not None
        server = psutil.Process(pid)
        if target == "PostgreSQL":
            server.kill()
            server.wait(10)
            time.sleep(self.dice.uniform(0, 1))
            now = time.monotonic()
            start_embedded(self.here.home)
            return now
        with contextlib.suppress(psutil.Error):  # it may be gone in this very moment
            self.dice.choice(server.children()).kill()
        return time.monotonic()  # the server starts it, or itself, again

    def one(self, number: int) -> Kill:
        target = TARGETS[number % len(TARGETS)]
        self.keep_judge()
        self.people.insist(lambda: self.people.release("chat", 0.9))
        self.wait_for_quantized()
        before, lead = self.dice.random() < 0.5, self.dice.uniform(0, 0.1)
        time.sleep(self.dice.uniform(0, 1))
        ordered: list[float] = []

        def order() -> None:
            ordered.append(time.monotonic())
            self.people.insist(lambda: self.people.roll_back("chat"))

        ordering = threading.Thread(target=order)
        if before:
            ordering.start()
            time.sleep(lead)
        started = self.strike(target)
        if not before:
            ordering.start()
        ordering.join()
        since = max(started, ordered[0])
        delay = self.delay(since)
        faults = list(self.checked())
        if delay > LIMIT_SECONDS:
            faults.append(f"the quantized model answered for {delay:.1f} s")
        return Kill(target=target, before=before, delay=delay, faults=tuple(faults))

    def wait_for_quantized(self) -> None:
        ends, now = time.monotonic() + START_SECONDS, time.monotonic()
        while not any(one.endpoint == "chat" and one.served == "quantized" for one in self.since(now)):
            if time.monotonic() > ends:
                raise RuntimeError("the quantized model gets no traffic after a release")
            time.sleep(0.05)

    def since(self, moment: float) -> list:
        return [one for one in self.clients.asked[-2000:] if one.began > moment]

    def delay(self, since: float) -> float:
        """Seconds from `since` to the last request that the quantized model answered, once it has answered none for a while."""
        ends = since + START_SECONDS
        while True:
            found = [one for one in self.since(since) if one.endpoint == "chat" and one.status == 200]
            late = [one.began for one in found if one.served == "quantized"]
            last = max(late, default=since)
            after = [one for one in found if one.began > last]
            if (len(after) >= 5 and after[-1].began - last > QUIET_SECONDS) or time.monotonic() > ends:
                return last - since
            time.sleep(0.05)

    def checked(self) -> Iterator[str]:
        """What is wrong, once the database answers again."""
        ends = time.monotonic() + 30
        while True:
            try:
                yield from tuple(self.watcher.faults())
                break
            except ServiceUnavailable as error:
                if time.monotonic() > ends:
                    yield f"the database does not come back: {error.what}"
                    break
                time.sleep(0.2)
        for path in (self.here.top / "home" / "gateway").glob("policies-*.json"):
            read_policies(path)  # raises where it is half-written

    def keep_judge(self) -> None:
        if not self.judge.alive:
            self.judge_ended += 1
            self.judge.start()
        if not self.gateway.alive:
            raise RuntimeError("the gateway ended by itself")


def main() -> int:
    quick = quick_asked()
    count = int(sys.argv[sys.argv.index("--kills") + 1]) if "--kills" in sys.argv else QUICK_KILLS if quick else 200
    with ground() as here, here.store() as store, contextlib.ExitStack() as stack:
        full, small = (stack.enter_context(upstream(arm, "model")) for arm in ("full_precision", "quantized"))
        both, port = arms(full.url, small.url), free_port()
        people = People(store=store, both=both)
        for name in ("chat", "busy", "ramp", "bad"):
            people.release(name, 0.5)
        gateway = stack.enter_context(gateway_service(here, port))
        judge = stack.enter_context(service(here, "judge", "-m", "quantplay.cli", "judge", "--every", "1"))
        until_ready(port)
        endpoints = ("chat", "bad", "chat", "ramp", "chat", "busy")
        clients = stack.enter_context(Clients(port=port, endpoints=endpoints, rate=RATE, unhappy="bad"))
        workers = [
            threading.Thread(target=people.keep_busy, args=(random.Random(SEED),)),
            threading.Thread(target=people.keep_ramps),
        ]
        for worker in workers:
            worker.start()
        chaos = Chaos(
            here=here, people=people, watcher=Watcher(store=store, people=people), clients=clients, gateway=gateway, judge=judge
        )  # fmt: skip
        kills = []
        try:
            for number in range(count):
                kills.append(chaos.one(number))
                for fault in kills[-1].faults:
                    print(f"kill {number + 1}, {kills[-1].target}: {fault}", file=sys.stderr, flush=True)
        finally:
            people.ended.set()
            for worker in workers:
                worker.join()
        by_judge = Counter(
            change.state
            for name in ("ramp", "bad")
            for change in store.traffic_changes(name)
            if change.actor == "judge"
        )
        untold = silent_changes(store)
        tracebacks = sum("Traceback" in one.told() for one in (gateway, judge))
        for one in (gateway, judge):
            if "Traceback" in one.told():
                print(one.told()[-6000:], file=sys.stderr)
    delays = [one.delay for one in kills]
    print_table(
        ("killed", "times", "rollback ordered before", "delay s p50", "delay s most", "faults"),
        [
            (
                target, len(found), sum(one.before for one in found), float(np.median([one.delay for one in found])),
                max(one.delay for one in found), sum(len(one.faults) for one in found),
            )
            for target in TARGETS
            if (found := [one for one in kills if one.target == target])
        ],
    )  # fmt: skip
    answered = Counter(one.status for one in clients.asked)
    return finish(
        "release_chaos",
        {
            "kills": len(kills), "changes_acknowledged": len(people.acknowledged), "changes_by_the_judge": dict(by_judge),
            "refused_meanwhile": dict(people.refused), "answers": {str(code): n for code, n in sorted(answered.items())},
            "judge_ended_by_itself": chaos.judge_ended, "rollbacks_without_event": untold,
            "delay_p50_seconds": float(np.median(delays)), "delay_p99_seconds": float(np.percentile(delays, 99)),
        },
        {
            "kills": at_least(len(kills), count),
            "invalid states": at_most(sum(len(one.faults) for one in kills), 0),
            "rollback in force after a restart": at_most(max(delays), LIMIT_SECONDS, "s"),
            "promotions by the judge": at_least(by_judge["canary"] + by_judge["live"], 1),
            "rollbacks by the judge": at_least(by_judge["rolled_back"], 1),
            "faults in gateway or judge": at_most(tracebacks, 0),
        },
    )  # fmt: skip


def silent_changes(store: Store) -> int:
    """Rollbacks by the judge that the event chain does not tell of: it was killed between the two."""
    told = {
        (event.subject, event.body["version"])
        for event in store.events(kind="traffic.rolled_back")
        if event.actor == "judge"
    }
    made = {
        ("bad", change.version)
        for change in store.traffic_changes("bad")
        if change.actor == "judge" and change.state == "rolled_back"
    }
    return len(made - told)


if __name__ == "__main__":
    sys.exit(main())
