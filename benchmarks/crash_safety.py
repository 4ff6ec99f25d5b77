"""kill -9 at any moment: the run at 40 moments, PostgreSQL at 10. The next run has to finish the work as if nothing had been.

A plan is run, killed, run again, killed further on, and so on; then it is left to finish. In the end the outcome, the keys of all
plays, the artifact's bytes and the scores are those of a run nobody disturbed; no play that was finished before a kill was done again;
the event chain and the package verify; no half-written file is left and no process lives on. A run whose PostgreSQL is killed under it
has to survive that.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.playground import Playground, make_playground
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from quantplay.store.embedded import server_pid

PLAYS = ("baseline", "envelope", "ptq", "evaluate", "gate", "lock")
DATABASE = "PostgreSQL"
COMMIT = "lock commit"
"""The moment at which the package's folder appears under its name, before the database knows of it."""
SEED = 20261121


@dataclass(kw_only=True)
class Reference:
    """A run nobody disturbed."""

    run: dict[str, Any]
    started_after: dict[str, float]  # play -> seconds from the start of the command
    seconds: float

    def took(self, play: str) -> float:
        later = [at for at in self.started_after.values() if at > self.started_after[play]]
        return min([*later, self.seconds]) - self.started_after[play]


@dataclass(kw_only=True)
class Kill:
    """One kill and what was found afterwards."""

    target: str
    moment: str  # in words
    hit: str  # the play that was under way
    problems: list[str] = field(default_factory=list)


class Watched:
    """A run under way: which play it is in, by its own messages."""

    def __init__(self, here: Playground, plan: Path, **environment: str) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quantplay.cli", "run", str(plan), "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=here.environment(**environment), start_new_session=True,
        )  # fmt: skip
        self.started_after: dict[str, float] = {}
        self.ended: set[str] = set()
        self.messages: list[str] = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            words = line.split()
            with self.changed:
                self.messages.append(line)
                if len(words) == 2 and words[0] in PLAYS:
                    if words[1] == "started":
                        self.started_after[words[0]] = time.monotonic() - self.started
                    elif words[1] in ("done", "reused"):
                        self.ended.add(words[0])
                self.changed.notify_all()

    def wait_for(self, play: str, seconds: float = 300) -> bool:
        """Until `play` has started; False where the run ended before."""
        with self.changed:
            return self.changed.wait_for(
                lambda: play in self.started_after or not self.reader.is_alive(), seconds
            ) and (play in self.started_after)

    def wait_for_any(self, seconds: float = 300) -> bool:
        """Until some play has started or was found done."""
        with self.changed:
            return self.changed.wait_for(
                lambda: bool(self.started_after or self.ended) or not self.reader.is_alive(), seconds
            )

    @property
    def under_way(self) -> str:
        going = [play for play in self.started_after if play not in self.ended]
        return going[-1] if going else "between plays"

    def finish(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        self.process.wait()
        self.reader.join()
        return self.process.returncode, out


def main() -> int:
    quick = quick_asked()
    top = Path(tempfile.mkdtemp(prefix="quantplay-crash-"))
    top.chmod(0o755)  # PostgreSQL drops root and has to enter it
    try:
        kills = measure(top, quick)
    finally:
        for home in top.glob("*/home"):
            Playground(home=home, folder=home).quantplay("down")
        shutil.rmtree(top, ignore_errors=True)
    runs = [kill for kill in kills if kill.target != DATABASE]
    hits = Counter(kill.hit for kill in runs)
    print_table(
        ("killed", "moment", "under way", "afterwards"),
        [(kill.target, kill.moment, kill.hit, "; ".join(kill.problems) or "as if nothing had been") for kill in kills],
    )
    wanted = (COMMIT,) if quick else (*PLAYS, COMMIT)
    fewest = min(hits[play] for play in wanted)
    return finish(
        "crash_safety",
        {
            "run_kills": len(runs), "postgresql_kills": len(kills) - len(runs), "hits": dict(hits),
            "problems": sum(len(kill.problems) for kill in kills),
        },
        {
            "problems": at_most(sum(len(kill.problems) for kill in kills), 0),
            "fewest_hits_of_a_play": at_least(fewest, 1 if quick else 2),
            "run_kills": at_least(len(runs), 1 if quick else 40),
            "postgresql_kills": at_least(len(kills) - len(runs), 1 if quick else 10),
        },
    )  # fmt: skip


def measure(top: Path, quick: bool) -> list[Kill]:
    rng = random.Random(SEED)
    first = playground(top / "reference")
    reference = finished(Watched(first, plan_of(first)))  # also starts the Prefect server that all runs share
    api = json.loads((first.home / "prefect" / "server.json").read_text())["api_url"]
    kills: list[Kill] = []
    for number, targets in enumerate(rounds(quick)):
        here = playground(top / f"home-{number}")
        try:
            kills += one_home(here, targets, reference, rng, PREFECT_API_URL=api)
            for kill in kills[-len(targets) :]:
                told = "; ".join(kill.problems) or "fine"
                print(f"home {number + 1}: {kill.target}, {kill.moment}: {told}", file=sys.stderr, flush=True)
        finally:
            here.quantplay("down")
            shutil.rmtree(here.home, ignore_errors=True)
    return kills


def rounds(quick: bool) -> list[list[str]]:
    """What is killed in each home, in this order."""
    if quick:
        return [["ptq", DATABASE, COMMIT]]
    every = ["start", "baseline", "envelope", "ptq", "evaluate", "gate"]
    return [[*every, end] for end in ("lock", COMMIT, "lock", COMMIT, "lock", COMMIT)] + [[DATABASE] * 3] * 4


def playground(top: Path) -> Playground:
    top.mkdir(parents=True)
    return make_playground(top)


def plan_of(here: Playground) -> Path:
    return here.plan("crash")


def finished(watched: Watched) -> Reference:
    code, out = watched.finish()
    if code != 0:
        raise SystemExit(f"the undisturbed run ended with {code}:\n{''.join(watched.messages[-20:])}")
    return Reference(
        run=json.loads(out), started_after=watched.started_after, seconds=time.monotonic() - watched.started
    )


def one_home(
    here: Playground, targets: Sequence[str], reference: Reference, rng: random.Random, **environment: str
) -> list[Kill]:
    """Kill after kill, then a run that may finish; what is wrong in the end is charged to the last kill."""
    plan = plan_of(here)
    kills: list[Kill] = []
    done_before: set[str] = set()
    watched = Watched(here, plan, **environment)
    for target in targets:
        kill = Kill(target=DATABASE if target == DATABASE else "run", moment="", hit="")
        kills.append(kill)
        kill.moment = wait_for_moment(watched, here, target, reference, rng)
        kill.hit = COMMIT if target == COMMIT else watched.under_way
        if watched.process.poll() is not None:
            kill.problems.append("the run had ended before")
        if target == DATABASE:
            kill_database(here)
            continue
        with contextlib.suppress(ProcessLookupError):  # it had ended before, and that is told
            os.kill(watched.process.pid, signal.SIGKILL)
        watched.finish()
        kill.problems += [f"{play} was finished and done again" for play in done_before & set(watched.started_after)]
        kill.problems += alive(here)
        done_before = recorded(here, reference)
        watched = Watched(here, plan, **environment)
    code, out = watched.finish()
    last = kills[-1]
    last.problems += [f"{play} was finished and done again" for play in done_before & set(watched.started_after)]
    if code == 0:
        last.problems += differences(here, json.loads(out), reference)
    else:
        last.problems.append(f"the run ended with {code}: {''.join(watched.messages[-4:])}")
    return kills


def wait_for_moment(watched: Watched, here: Playground, target: str, reference: Reference, rng: random.Random) -> str:
    """Sleep until the moment to kill; returns it in words."""
    if target == COMMIT:
        while watched.process.poll() is None and not any(here.home.glob("packages/[!.]*")):
            time.sleep(0.0005)
        return "the package's folder appeared"
    if target in PLAYS:
        share = rng.uniform(0, 0.9)
        took = reference.took(target)
        if watched.wait_for(target) and took > 0.2:  # a play of milliseconds is killed as soon as it is seen
            time.sleep(share * took)
        return f"{100 * share:.0f} % into {target}"
    if target == DATABASE:
        watched.wait_for_any()
    wait = rng.uniform(0, 0.1 * reference.seconds if target == DATABASE else reference.started_after["baseline"])
    time.sleep(wait)
    return f"{wait:.1f} s " + ("later" if target == DATABASE else "after the start")


def kill_database(here: Playground) -> None:
    deadline = time.monotonic() + 60
    while (pid := server_pid(here.home)) is None and time.monotonic() < deadline:
        time.sleep(0.05)  # killed before, and on its way up again
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def alive(here: Playground) -> list[str]:
    """Processes of the killed run that live on: its children have to die with it."""
    import psutil

    deadline = time.monotonic() + 3
    while True:
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            command = process.info["cmdline"] or []
            home = (process.info["environ"] or {}).get("QUANTPLAY_HOME")
            if home == str(here.home) and "quantplay.process" in command:
                found.append(f"still alive: {' '.join(command[-3:])}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def recorded(here: Playground, reference: Reference) -> set[str]:
    """Plays whose record was in the database when the run was killed."""
    keys = {play["play"]: play["key"] for play in reference.run["plays"]}
    code = (
        "import json, sys; from quantplay.settings import settings; from quantplay.store.registry import open_store\n"
        "keys = json.loads(sys.argv[1]); store = open_store(settings())\n"
        "get = {'baseline': store.get_baseline, 'envelope': store.get_envelope, 'ptq': store.get_artifact,\n"
        "       'evaluate': store.get_evaluation, 'gate': store.get_decision, 'lock': store.get_package}\n"
        "print(json.dumps([play for play in get if get[play](keys[play]) is not None]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(keys)],
        capture_output=True,
        text=True,
        env=here.environment(),
        check=True,
    )
    return set(json.loads(done.stdout))


def differences(here: Playground, run: dict[str, Any], reference: Reference) -> list[str]:
    """Where the finished run is not what an undisturbed one is."""
    found = []
    wanted = reference.run
    if run["outcome"] != wanted["outcome"]:
        found.append(f"outcome {run['outcome']}")
    keys = [{play["play"]: play["key"] for play in one["plays"]} for one in (run, wanted)]
    found += [f"key of {play} differs" for play in keys[1] if keys[0].get(play) != keys[1][play]]
    if [one["sha256"] for one in run["artifacts"]] != [one["sha256"] for one in wanted["artifacts"]]:
        found.append("the artifact's bytes differ")
    if scores_of(run) != scores_of(wanted):
        found.append("the scores differ")
    verified = here.quantplay("verify", run["package"]["path"])
    if verified.returncode != 0:
        found.append(f"the package does not verify: {verified.stdout[-300:]}")
    found += leftovers(here)
    chain = subprocess.run(
        [sys.executable, "-c",
         "from quantplay.settings import settings; from quantplay.store.registry import open_store\n"
         "print(open_store(settings()).verify_events())"],
        capture_output=True, text=True, env=here.environment(), check=True,
    )  # fmt: skip
    if chain.stdout.strip() != "()":
        found.append(f"the event chain: {chain.stdout.strip()}")
    return found


def scores_of(run: dict[str, Any]) -> list[tuple[Any, ...]]:
    slices = run["decisions"][-1]["slices"]
    return [(one["slice"], one["metric"], one["baseline"], one["candidate"]) for one in slices]


def leftovers(here: Playground) -> list[str]:
    """Files in the making that nobody will finish."""
    partial = [*here.home.glob("packages/.*"), *here.home.glob("reports/*/.*"), *here.home.glob("scratch/*/*")]
    partial += here.home.glob("artifacts/incoming/*")
    return [f"left behind: {path.relative_to(here.home)}" for path in partial]


if __name__ == "__main__":
    raise SystemExit(main())
