"""Two workers, twenty jobs, and kill -9 at any moment: `python -m benchmarks.queue_chaos [--quick]`.

Baselines, quantizations and evaluations of several small plans wait in the three queues. Workers, job processes and their heavy
children are killed at moments drawn by chance; a killed worker is started again. In the end there has to be one result for each job
and none that was produced twice, no device may ever have had two jobs at work, and whenever a worker took a job, no more urgent one
may have been waiting.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks.disturbed import DisturbedPlatform, Watch, disturbed_platform, kill
from benchmarks.queue_jobs import QUEUES
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked

DEVICES = ("a", "b")
SEED = 20261121
TARGETS = ("job", "heavy child", "worker", "heavy child", "job", "node")  # in this order, then again
BACK_SECONDS = 2.0  # until a killed worker is started again
POLL_SECONDS = 3.0  # a worker asks for work every two: who came or left within that may be missed
ALL_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One flow run of a job: when it began to wait and when a worker took it, in seconds since the epoch."""

    queue: str
    waits_from: float
    taken_at: float | None
    name: str


class Chaos(threading.Thread):
    """Kills one thing after another, then starts the killed worker again."""

    def __init__(self, platform: DisturbedPlatform, kills: int, pause: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.platform, self.kills, self.pause = platform, kills, pause
        self.dice, self.ended, self.done = random.Random(SEED), threading.Event(), Counter[str]()

    def run(self) -> None:
        while sum(self.done.values()) < self.kills and not self.ended.wait(self.dice.uniform(*self.pause)):
            target = TARGETS[sum(self.done.values()) % len(TARGETS)]
            if self.strike(target):
                self.done[target] += 1
                print(f"killed: {target}", file=sys.stderr, flush=True)

    def strike(self, target: str) -> bool:
        """Kill -9; False where there is nothing to kill at this moment."""
        seen = self.platform.processes()
        if target in ("job", "heavy child"):
            victims = [one.pid for one in seen if one.heavy == (target == "heavy child")]
            kill(self.dice.sample(victims, 1) if victims else [])
            return bool(victims)
        busy = sorted({str(one.device) for one in seen})
        if not busy:
            return False
        device = self.dice.choice(busy)
        name = f"worker-{device}"
        if target == "node":
            kill([self.platform.workers[name].pid, *(one.pid for one in seen if one.device == device)])
        self.platform.kill_worker(name)
        time.sleep(BACK_SECONDS)
        self.platform.start_worker(name, "gpu", device)
        return True


def main() -> int:
    quick = quick_asked()
    plans, types, kills, pause = (1, 1, 2, (3.0, 8.0)) if quick else (4, 2, 16, (8.0, 40.0))
    with disturbed_platform(DEVICES) as platform:
        platform.set_pool_limit(len(DEVICES))
        watch, chaos = Watch(platform), Chaos(platform, kills, pause)
        started = time.monotonic()
        sender = sending(platform, plans, types)
        watch.start()
        chaos.start()
        out, _ = sender.communicate(timeout=ALL_SECONDS)
        seconds = time.monotonic() - started
        for thread in (chaos, watch):
            thread.ended.set()
            thread.join()
        results = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        taken = taken_of(platform)
        with platform.store() as store:
            events = Counter(event.subject for event in store.events(kind="play.done"))
            jobs = store.list_jobs()
            found = {"baseline": store.get_baseline, "ptq": store.get_artifact, "evaluate": store.get_evaluation}
            missing = [one for one in results if found[one["play"]](one["key"]) is None]
            chain = store.verify_events()
    passed = overtaken(taken)
    overlaps = overlapping(jobs)
    wanted = plans * (1 + 2 * types)
    print_table(
        ("play", "plan", "queue", "key", "asked", "seconds"),
        [(one["play"], one["plan"], one["queue"], one["key"][:8], one["attempts"], one["seconds"]) for one in results],
    )
    for line in passed:
        print(line)
    outcomes = Counter(job.outcome or "open" for job in jobs)
    return finish(
        "queue_chaos",
        {
            "kills": dict(chaos.done), "seconds": round(seconds), "flow_runs": len(taken), "uses_of_a_device": dict(outcomes),
            "looks_at_the_devices": watch.looks,
            "longest_job_s": max((one["seconds"] for one in results), default=0),
        },
        {
            "results": at_least(len({(one["play"], one["key"]) for one in results}), wanted),
            "results_without_record": at_most(len(missing), 0),
            "results_produced_twice": at_most(sum(count - 1 for count in events.values()), 0),
            "two_jobs_on_a_device_seen": at_most(len(watch.together), 0),
            "two_jobs_on_a_device_noted": at_most(overlaps, 0),
            "urgent_jobs_overtaken": at_most(len(passed), 0),
            "kills": at_least(sum(chaos.done.values()), kills),
            "faults_in_the_event_chain": at_most(len(chain), 0),
        },
    )  # fmt: skip


def sending(platform: DisturbedPlatform, plans: int, types: int) -> subprocess.Popen[str]:
    """The process that sends the jobs and waits for them."""
    paths = [
        str(
            platform.playground.plan(
                f"chaos-{number}", seed=number, calibration__samples=16 - number, gate__attempts=types,
                envelope__types=["Q4_K_M", "Q5_K_M"][:types],
            )
        )
        for number in range(plans)
    ]  # fmt: skip
    code = f"from benchmarks.queue_jobs import send_all; send_all({paths!r}, {types}, {SEED})"
    environment = {**platform.env, "PREFECT_API_URL": platform.api_url, "QUANTPLAY_POOL": "gpu"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def taken_of(platform: DisturbedPlatform) -> list[Taken]:
    """Every flow run of the pool `gpu`, by the history of its states in Prefect."""
    found = []
    with platform.client() as client:
        for run in client.read_flow_runs(limit=200):
            if run.work_queue_name not in QUEUES or run.work_pool_name != "gpu":
                continue
            states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
            waiting = [state for state in states if state.is_scheduled()]
            left = [state for state in states if not state.is_scheduled()]
            found.append(
                Taken(
                    queue=run.work_queue_name, name=run.name,
                    waits_from=(waiting or states)[0].timestamp.timestamp(),
                    taken_at=left[0].timestamp.timestamp() if left else None,
                )
            )  # fmt: skip
    return found


def overtaken(taken: list[Taken]) -> list[str]:
    """Every time a worker took a job although a more urgent one had been waiting, and went on waiting."""
    found = []
    for less in taken:
        for more in taken:
            if QUEUES.index(more.queue) >= QUEUES.index(less.queue) or less.taken_at is None:
                continue
            waited = more.waits_from + POLL_SECONDS < less.taken_at
            went_on = more.taken_at is None or more.taken_at > less.taken_at + POLL_SECONDS
            if waited and went_on:
                late = f"{more.taken_at - less.taken_at:.1f} s" if more.taken_at is not None else "never"
                found.append(f"{less.name} ({less.queue}) was taken before {more.name} ({more.queue}), {late} later")
    return found


def overlapping(jobs: Any) -> int:
    """Pairs of uses of one device whose times overlap, by the product database; a lost one ends where the next begins."""
    count = 0
    for device in DEVICES:
        here = sorted((job for job in jobs if job.device == device), key=lambda job: job.started_at)
        count += sum(
            before.finished_at is None or before.finished_at > after.started_at
            for before, after in itertools.pairwise(here)
            if before.outcome != "lost"
        )
    return count


if __name__ == "__main__":
    sys.exit(main())
