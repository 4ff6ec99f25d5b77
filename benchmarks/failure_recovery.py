"""What dies, and how long until everything is right again: `python -m benchmarks.failure_recovery [--quick]`.

A run of the playbook is under way on a platform of its own: an orchestrating worker, and two workers with a device each of which the
pool lets one work at a time. Something dies under it. Measured is how long Prefect and the product database say something that is
not so, how long the slot stays taken, and whether anything was done twice. Every row has to be right within two minutes, and no row
may repeat a finished play or have two jobs on a device.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from benchmarks.disturbed import DisturbedPlatform, Watch, disturbed_platform, kill
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.outcomes import OUTCOMES
from quantplay.store.locks import held_keys, run_lock_key, turn_name

DEVICES = ("a", "b")
LIMIT_SECONDS = 120.0
AWAY_SECONDS = 120.0  # how long the database is gone
SERVER_AWAY_SECONDS = 15.0
RUN_SECONDS = 600.0  # far more than a run takes, with all that happens to it


@dataclass(kw_only=True)
class Row:
    """One failure and what came of it."""

    failure: str
    prefect: str = ""  # state of what was hit, then of the run
    database: str = ""  # what `quantplay show` said meanwhile, and in the end
    right_s: float = 0.0  # from the failure until Prefect and database say what is so
    next_s: float | None = None  # from the failure until another job works on a device; None where that is no question
    repeated: int = 0  # plays that were finished and done again
    problems: list[str] = field(default_factory=list)


class Scene:
    """One run of the playbook that something happens to."""

    def __init__(self, platform: DisturbedPlatform, failure: str, samples: int) -> None:
        self.platform, self.row = platform, Row(failure=failure)
        # Two devices and one slot: whether it is freed decides whether the next job starts. A worker that starts sets it anew.
        platform.set_pool_limit(1)
        # Another number of calibration samples is another artifact: the plays after the baseline are done anew.
        self.plan = platform.playground.plan(f"failure-{samples}", calibration__samples=samples)
        self.flow_run = platform.start("quantize/plan", plan=str(self.plan))
        self.at = 0.0

    def hit(self, strike: Callable[[], object]) -> None:
        """Let it happen; the clock starts."""
        self.at = time.monotonic()
        strike()

    @property
    def since(self) -> float:
        return time.monotonic() - self.at

    def heavy_job(self, seconds: float = 300) -> UUID:
        """The job of this run that computes at this moment."""

        def found() -> UUID | None:
            ended = self.platform.state(self.flow_run)
            assert ended not in ("Failed", "Crashed"), f"the run is {ended} before anything was done to it"
            for job in self.platform.jobs_of(self.flow_run):
                if job.state_name == "Running" and "envelope" not in job.name and self.platform.of(job.id, heavy=True):
                    return job.id
            return None

        return self.platform.until(found, seconds, "a job that computes")

    def is_right(self, flow_run: UUID, states: tuple[str, ...], seconds: float = LIMIT_SECONDS + 60) -> None:
        """Wait until Prefect says one of `states` of `flow_run`, and note how long that took."""
        state = self.platform.until(
            lambda: self.platform.state(flow_run) in states and self.platform.state(flow_run), seconds, f"{states}"
        )
        self.row.prefect, self.row.right_s = state, max(self.row.right_s, self.since)

    def shown(self) -> tuple[str, str]:
        """The product run's id and what `quantplay show` says of it."""
        with self.platform.store() as store:
            rows = store.runs_of_flow_run(str(self.flow_run))
        assert len(rows) <= 1, f"{len(rows)} runs in the product database for one flow run"
        return (str(rows[0].id), rows[0].outcome or rows[0].state) if rows else ("", "none")

    def is_shown(self, states: tuple[str, ...]) -> None:
        self.row.database = self.platform.until(
            lambda: self.shown()[1] in states and self.shown()[1], LIMIT_SECONDS + 60, f"shown as one of {states}"
        )
        self.row.right_s = max(self.row.right_s, self.since)

    def next_job_works(self, besides: UUID) -> None:
        """Wait until a job other than `besides` computes."""

        def works() -> bool:
            return any(one.heavy and one.flow_run != str(besides) for one in self.platform.processes())

        self.platform.until(works, LIMIT_SECONDS + 120, "another job on a device")
        self.row.next_s = self.since

    def finished_plays(self) -> Counter[str]:
        """Key -> how often the play was done, by the events, which nobody can change."""
        with self.platform.store() as store:
            return Counter(event.subject for event in store.events(kind="play.done"))

    def ends_well(self) -> Row:
        """The run ends by itself, Prefect and the database tell the same, and nothing was done twice."""
        before = self.row.prefect
        self.platform.until(lambda: self.platform.state(self.flow_run) in ENDED, RUN_SECONDS, "the end of the run")
        ended = self.platform.state(self.flow_run)
        self.row.prefect = f"{before}, then {ended}" if before and before != ended else ended
        shown = self.shown()[1]
        self.row.database = (
            f"{self.row.database}, then {shown}" if self.row.database and self.row.database != shown else shown
        )
        if shown not in OUTCOMES or OUTCOMES[shown].state_name != ended:
            self.row.problems.append(f"the run ended as {ended}, {shown}")
        return self.nothing_twice()

    def nothing_twice(self) -> Row:
        self.row.repeated = sum(count - 1 for count in self.finished_plays().values())
        with self.platform.store() as store:
            done = Counter((job.run, job.play) for job in store.list_jobs() if job.outcome == "done")
        self.row.repeated += sum(count - 1 for count in done.values())
        return self.row


STARTING = ("Pending", "Submitting", "InfrastructurePending")
ENDED = {"Crashed", *(outcome.state_name for outcome in OUTCOMES.values())}


# --- what happens ----------------------------------------------------------------------------------------------------


def job_killed(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "the job's process is killed", samples)
    kill_job(platform, scene)
    return scene.ends_well()


def kill_job(platform: DisturbedPlatform, scene: Scene) -> None:
    job = scene.heavy_job()
    scene.hit(lambda: kill(platform.of(job, heavy=False)))
    scene.is_right(job, ("Crashed",))
    scene.next_job_works(job)


def worker_killed(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "the worker is killed, its job lives", samples)
    job = scene.heavy_job()
    name = worker_of(platform, job)
    scene.hit(lambda: platform.kill_worker(name))
    scene.is_right(job, ("Completed", "Crashed"))
    return scene.ends_well()


def node_lost(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "node lost: worker and job", samples)
    return lose_node(platform, scene, scene.heavy_job())


def node_lost_early(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "node lost while the job starts", samples)
    # The first job whose process is there and has not said that it runs.
    job = platform.until(
        lambda: next(
            (one.id for one in platform.jobs_of(scene.flow_run) if one.state_name in STARTING and platform.of(one.id)), None
        ),
        300, "a job that starts",
    )  # fmt: skip
    return lose_node(platform, scene, job)


def lose_node(platform: DisturbedPlatform, scene: Scene, job: UUID) -> Row:
    worker = platform.workers[worker_of(platform, job)]
    scene.hit(lambda: (kill([worker.pid, *platform.of(job)]), worker.wait()))
    scene.is_right(job, ("Crashed",))
    scene.next_job_works(job)
    return scene.ends_well()


def orchestrator_lost(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "node lost: orchestrating worker and run", samples)
    scene.heavy_job()
    worker = platform.workers["orchestrator"]
    scene.hit(lambda: (kill([worker.pid, *platform.of(scene.flow_run)]), worker.wait()))
    scene.is_shown(("interrupted",))
    scene.is_right(scene.flow_run, ("Crashed",))
    platform.start_dead_workers()
    retry(platform, scene)
    return scene.ends_well()


def server_restarted(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, f"Prefect server killed, back after {SERVER_AWAY_SECONDS:.0f} s", samples)
    scene.heavy_job()
    scene.hit(platform.kill_server)
    time.sleep(SERVER_AWAY_SECONDS)
    platform.start_server()
    platform.await_workers("gpu", len(DEVICES))
    platform.await_workers("cpu", 1)
    scene.is_right(scene.flow_run, ("Running",))
    scene.is_shown(("running",))
    return scene.ends_well()


def database_gone(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, f"database gone for {AWAY_SECONDS:.0f} s, measured from its return", samples)
    scene.heavy_job()
    run = scene.shown()[0]
    platform.stop_database()
    time.sleep(AWAY_SECONDS)
    scene.hit(platform.start_database)
    platform.until(lambda: worked_on(platform, run), LIMIT_SECONDS + 60, "the run's lock, taken again")
    scene.is_shown(("running",))
    scene.is_right(scene.flow_run, ("Running",))
    return scene.ends_well()


def cancelled(platform: DisturbedPlatform, samples: int) -> Row:
    return cancel(platform, Scene(platform, "the run is cancelled", samples))


def cancel(platform: DisturbedPlatform, scene: Scene) -> Row:
    from prefect.states import Cancelling

    job = scene.heavy_job()
    heavy = set(platform.of(job, heavy=True))
    with platform.client() as client:
        scene.hit(lambda: client.set_flow_run_state(scene.flow_run, Cancelling()))
    platform.until(lambda: not heavy & set(platform.of(job, heavy=True)), LIMIT_SECONDS + 60, "the heavy child's end")
    platform.until(lambda: all(free(platform, device) for device in DEVICES), LIMIT_SECONDS + 60, "free devices")
    scene.row.next_s = scene.since
    scene.is_right(job, ("Cancelled",))
    scene.is_right(scene.flow_run, ("Cancelled",))
    scene.is_shown(("cancelled",))
    return scene.nothing_twice()


def retried(platform: DisturbedPlatform, samples: int) -> Row:
    scene = Scene(platform, "the run's process is killed, then retried", samples)
    scene.heavy_job()
    before = scene.shown()[0]
    scene.hit(lambda: kill(platform.of(scene.flow_run)))
    scene.is_right(scene.flow_run, ("Crashed",))
    scene.is_shown(("interrupted",))
    retry(platform, scene)
    row = scene.ends_well()
    if scene.shown()[0] != before:
        row.problems.append("another run of the product database went on")
    return row


# --- and how it is looked at -----------------------------------------------------------------------------------------


def worker_of(platform: DisturbedPlatform, job: UUID) -> str:
    device = next(one.device for one in platform.processes() if one.flow_run == str(job))
    return f"worker-{device}"


def free(platform: DisturbedPlatform, device: str) -> bool:
    """Whether the device's lock can be taken, as the next job would."""
    path: Path = platform.home / "devices" / f"{device}.lock"
    if not path.exists():
        return True
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def worked_on(platform: DisturbedPlatform, run: str) -> bool:
    """Whether a process holds the lock of this run, as it has to again after the database forgot it."""
    with platform.store() as store, store.engine.connect() as connection:
        return run_lock_key(turn_name(run)) in held_keys(connection)


def retry(platform: DisturbedPlatform, scene: Scene) -> None:
    """The command that `quantplay show` prints."""
    shown = platform.quantplay("show", scene.shown()[0])
    command = ["prefect", "flow-run", "retry", str(scene.flow_run)]
    if " ".join(command) not in " ".join(shown.stdout.split()):
        scene.row.problems.append(f"`quantplay show` names no retry: {shown.stdout[-300:]}{shown.stderr[-300:]}")
    environment = {**platform.env, "PREFECT_API_URL": platform.api_url}
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


ROWS = {
    "job": job_killed, "cancel": cancelled, "retry": retried, "worker": worker_killed, "node": node_lost, "early": node_lost_early,
    "orchestrator": orchestrator_lost, "server": server_restarted, "database": database_gone,
}  # fmt: skip


def quick_rows(platform: DisturbedPlatform) -> list[Row]:
    """One run for two rows: its job is killed, the next job is under way, and the run is cancelled."""
    scene = Scene(platform, "the job's process is killed", 16)
    kill_job(platform, scene)
    first, scene.row = scene.row, Row(failure="the run is cancelled")
    return [first, cancel(platform, scene)]


def full_rows(platform: DisturbedPlatform) -> list[Row]:
    rows: list[Row] = []
    for number, name in enumerate([name for name in sys.argv[1:] if name in ROWS] or ROWS):
        try:
            rows.append(ROWS[name](platform, 16 - number))
        except (TimeoutError, AssertionError) as error:
            rows.append(Row(failure=name, right_s=RUN_SECONDS, problems=[str(error)]))
        row = rows[-1]
        print(f"{row.failure}: {row.right_s:.1f} s {'; '.join(row.problems)}", file=sys.stderr, flush=True)
        platform.start_dead_workers()
        platform.await_workers("gpu", len(DEVICES))
    return rows


def main() -> int:
    with disturbed_platform(DEVICES) as platform:
        watch = Watch(platform)
        watch.start()
        rows = quick_rows(platform) if quick_asked() else full_rows(platform)
        watch.ended.set()
        watch.join()
        with platform.store() as store:
            chain = store.verify_events()
    print_table(
        ("what happens", "Prefect says", "the database says", "right after, s", "next job after, s", "repeated"),
        [
            (row.failure, row.prefect, row.database, f"{row.right_s:.1f}", "" if row.next_s is None else f"{row.next_s:.1f}",
             row.repeated)
            for row in rows
        ],
    )  # fmt: skip
    for row in rows:
        for problem in row.problems:
            print(f"{row.failure}: {problem}")
    slowest = max(row.right_s for row in rows)
    slot = max(row.next_s or 0 for row in rows)
    return finish(
        "failure_recovery",
        {
            "rows": {row.failure: {"right_s": round(row.right_s, 1), "next_s": row.next_s and round(row.next_s, 1)} for row in rows},
            "looks_at_the_devices": watch.looks,
        },
        {
            "right_within": at_most(round(slowest, 1), LIMIT_SECONDS, "s"),
            "next_job_within": at_most(round(slot, 1), LIMIT_SECONDS, "s"),
            "plays_repeated": at_most(sum(row.repeated for row in rows), 0),
            "two_jobs_on_a_device": at_most(len(watch.together), 0),
            "problems": at_most(sum(len(row.problems) for row in rows) + len(chain), 0),
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
