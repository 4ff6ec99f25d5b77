"""Who sends the jobs of `queue_chaos`: a process of its own, because Prefect reads its settings once."""

from __future__ import annotations

import json
import random
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

QUEUES = ("interactive", "revalidation", "batch")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One job that came back."""

    play: str
    plan: str
    queue: str
    key: str  # of the record it produced
    attempts: int  # times this program asked for it; each time the product itself sends it up to three times
    seconds: float


def send_all(plans: list[str], types: int, seed: int) -> None:
    """A baseline a plan, then for each of its `types` a ptq and an evaluate job, every one in a queue drawn by chance.

    All baselines and quantizations wait at once; an evaluation waits for its two. Prints one line of JSON a result.
    """
    from flows.dispatch import prepared
    from quantplay.envelope.choose import choose
    from quantplay.plays import keys
    from tasks.runs import open_run
    from tasks.workbench import workbench

    dice, bench = random.Random(seed), workbench()
    with ThreadPoolExecutor(64) as pool:
        for path in plans:
            run = prepared(open_run(path))
            plan = run.read()
            choice = choose(plan.envelope, run.paths().model, bench.fingerprint)
            identity = keys.baseline_key(plan, run.inputs, keys.harness_of(plan, run.inputs), bench.fingerprint)
            expected = keys.renewed_key(identity, 0)
            given, name = {"run": run.body()}, Path(path).stem
            baseline = pool.submit(asked, "baseline", name, dice.choice(QUEUES), given)
            for candidate in choice.candidates[:types]:
                more = given | {"baseline": expected, "candidate": candidate.body()}
                artifact = pool.submit(asked, "ptq", name, dice.choice(QUEUES), more)
                pool.submit(evaluated, name, dice.choice(QUEUES), given, baseline, artifact)


def evaluated(
    name: str, queue: str, given: dict[str, Any], baseline: Future[Result], artifact: Future[Result]
) -> Result:
    keys = {"baseline": baseline.result().key, "artifact": artifact.result().key}
    return asked("evaluate", name, queue, given | keys)


def asked(play: str, name: str, queue: str, parameters: dict[str, Any]) -> Result:
    """Ask until there is a result: what the product gives up after several crashes is asked for again, as a person would."""
    from flows.dispatch import result_of
    from quantplay.errors import ChildProcessFailed

    started, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        try:
            key = result_of(f"{play}-job/gpu", parameters, queue)
            break
        except ChildProcessFailed as error:
            print(f"{play} of {name}: {error.what}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    result = Result(play=play, plan=name, queue=queue, key=key, attempts=attempts, seconds=round(seconds, 1))
    print(json.dumps(asdict(result)), flush=True)
    return result
