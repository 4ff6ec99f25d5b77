"""Two controllers, processes of their own, want to promote the same canary at the same moment: `python -m benchmarks.controller_race [--quick]`.

2,000 races (--quick: 100). In each both are told the version in force and promote it as the judge does: lease, compare and swap, lease back. In every
second race somebody rolls back at a moment drawn by chance meanwhile. In every third race leases run out within milliseconds while they are held and their
holders go on all the same, as one that was stopped and wakes up does. Then every version has to have one winner, nobody may believe to have
won what another one did, and where somebody rolled back the revision has to be out.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.live_lab import Ground, arms, ground, released
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from quantplay.errors import Conflict
from quantplay.store.registry import Store

SEED = 20261122
NAME = "chat"
BOTH = arms("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")


@dataclass(frozen=True, kw_only=True)
class Race:
    """How one went: what each controller was told, and what is true."""

    seen: int  # the version both promoted from
    won: Mapping[str, int]  # controller -> version it was told that it made
    rolled_back: int | None  # the version of the rollback, where there was one
    asked_back: bool


def controller(name: str) -> None:
    """A process that promotes when a line tells it to."""
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        print("ready", flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            time.sleep(max(0.0, told["at"] - time.time()))
            print(json.dumps({"won": promoted(store, name, **told)}), flush=True)


def promoted(
    store: Store, name: str, *, at: float, seen: int, revision: int, seconds: float, pause: float
) -> int | None:
    """The version that `name` made, or None."""
    try:
        epoch = store.take_lease(NAME, name, seconds)
        try:
            time.sleep(pause)
            return store.point(
                NAME, revision=revision, state="canary", weight=0.5, epoch=epoch, expected=seen, actor=name, reason="a race"
            )  # fmt: skip
        finally:
            store.give_lease(NAME, name)
    except Conflict:
        return None


@dataclass(kw_only=True)
class Controllers:
    processes: dict[str, subprocess.Popen[str]]

    @classmethod
    def started(cls, here: Ground) -> Controllers:
        found = {
            name: subprocess.Popen(
                [sys.executable, "-m", "benchmarks.controller_race", "controller", name], env=here.environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for name in ("one", "two")
        }  # fmt: skip
        for process in found.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return cls(processes=found)

    def go(self, told: dict[str, Any], pauses: tuple[float, float]) -> None:
        for process, pause in zip(self.processes.values(), pauses, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps({**told, "pause": pause}) + "\n")
            process.stdin.flush()

    def answers(self) -> dict[str, int]:
        found = {}
        for name, process in self.processes.items():
            assert process.stdout is not None
            won = json.loads(process.stdout.readline())["won"]
            if won is not None:
                found[name] = won
        return found

    def end(self) -> None:
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def raced(store: Store, controllers: Controllers, number: int, dice: random.Random) -> Race:
    (now,) = store.traffic_policies(NAME)
    if now.state != "canary" or dice.random() < 0.2:
        _, seen = released(store, NAME, BOTH, weight=0.05)
        (now,) = store.traffic_policies(NAME)
    seen, back, short = now.version, number % 2 == 0, number % 3 == 0
    told = {
        "at": time.time() + 0.005, "seen": seen, "revision": now.revision, "seconds": dice.uniform(0, 0.006) if short else 60.0,
    }  # fmt: skip
    controllers.go(told, (dice.uniform(0, 0.01), dice.uniform(0, 0.01)) if short else (0.0, 0.0))
    version = None
    if back:
        time.sleep(max(0.0, told["at"] + dice.uniform(-0.003, 0.015) - time.time()))
        version = store.roll_back(NAME, actor="on-call", reason="a race", revision=now.revision)
    return Race(seen=seen, won=controllers.answers(), rolled_back=version, asked_back=back)


def faults(store: Store, races: list[Race]) -> Iterator[str]:
    """What must not be, race by race, against the history that the database itself wrote."""
    noted = {one.version: one for one in store.traffic_changes(NAME)}
    if [*noted] != [*range(1, len(noted) + 1)]:
        yield "versions have gaps"
    for number, (race, after) in enumerate(zip(races, [*(one.seen for one in races[1:]), None], strict=True)):
        where = f"race {number}"
        last = max(noted) if after is None else after
        made = [one for one in noted.values() if race.seen < one.version <= last and one.actor in ("one", "two")]
        if len(race.won) > 1 or len(made) > 1:
            yield f"{where}: version {race.seen} was promoted {max(len(race.won), len(made))} times"
        if {one.actor: one.version for one in made} != dict(race.won):
            yield f"{where}: told {dict(race.won)}, true {[(one.actor, one.version) for one in made]}"
        if race.asked_back:
            if race.rolled_back is None:
                yield f"{where}: the rollback did nothing"
            elif noted[race.rolled_back].state != "rolled_back":
                yield f"{where}: version {race.rolled_back} is {noted[race.rolled_back].state}"
            elif any(one.version > race.rolled_back for one in made):
                yield f"{where}: promoted after the rollback"


def main() -> int:
    if sys.argv[1:2] == ["controller"]:
        controller(sys.argv[2])
        return 0
    count, dice = 100 if quick_asked() else 2000, random.Random(SEED)
    with ground() as here, here.store() as store:
        released(store, NAME, BOTH, weight=0.05)
        controllers = Controllers.started(here)
        began = time.monotonic()
        try:
            races = [raced(store, controllers, number, dice) for number in range(count)]
        finally:
            controllers.end()
        seconds = time.monotonic() - began
        found = [*faults(store, races), *store.verify_events()]
    for line in found[:20]:
        print(line)
    winners = Counter(next(iter(race.won), "nobody") for race in races)
    print_table(("promoted by", "races"), sorted(winners.items()))
    doubled = sum("promoted" in line and "times" in line for line in found)
    return finish(
        "controller_race",
        {
            "races": len(races), "promoted_by": dict(winners), "rollbacks": sum(race.rolled_back is not None for race in races),
            "promoted_before_the_rollback": sum(bool(race.won) and race.rolled_back is not None for race in races),
            "seconds": round(seconds, 1),
        },
        {
            "races": at_least(len(races), count),
            "double promotions": at_most(doubled, 0),
            "rollbacks that did not win, and other faults": at_most(len(found) - doubled, 0),
            "races that each controller won": at_least(min(winners["one"], winners["two"]), count // 50),
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
