"""The two arms of harness_speed, each in a process of its own that waits on a pipe until it is asked.

`Arm` is the parent's end; `serve` runs in the child. A question is a JSON line {"work", "batch"}: evaluate the items of that
kind of work with so many prompts at a time. The answer tells seconds of wall clock and of processor, and every answer given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmarks.lm_eval_tasks import choice_items
from benchmarks.models import PILOT
from quantplay import process
from quantplay.evalset import EvalItem, read_items
from quantplay.plan import Decoding

DECODING = Decoding(max_tokens=64, stop=("\n",))
CONTEXT_TOKENS = 512
START = "import sys; from benchmarks.harness_arms import serve; serve(int(sys.argv[1]))"
WORKS = ("generation", "values", "sentences")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """All items of one kind of work, once."""

    wall_seconds: float
    cpu_seconds: float  # of the whole process
    responses: dict[str, str]  # item id -> answer
    scores: dict[str, float]  # item id -> 1 right, 0 wrong


class Arm:
    """The parent's end of one arm."""

    def __init__(self, name: str, job: Mapping[str, Any]) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in __exit__
        self.child = subprocess.Popen(
            [sys.executable, "-c", START, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=PILOT.parents[1],
            env={**os.environ, **process.thread_environment(1)},
        )
        self.load: dict[str, float] = self.converse({"arm": name, **job})

    def turn(self, work: str, batch: int) -> Turn:
        return Turn(**self.converse({"work": work, "batch": batch}))

    def converse(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(question) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            self.child.wait()
            self.log.seek(0)
            raise RuntimeError(f"the process of the {self.name} arm ended:\n{self.log.read()[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()
        self.log.close()


def items_of(work: str, a_slice: int) -> list[EvalItem]:
    """The pilot's gate items, the first so many of each slice, to answer or to choose from.

    `values`: what stands on the page, mostly one token a choice. `sentences`: the answers of four items of the slice.
    """
    gate = read_items(PILOT / "evaluation" / "gate.jsonl")
    if work == "values":
        return choice_items(gate)[: 5 * a_slice]
    slices: dict[str, list[EvalItem]] = {}
    for item in gate:
        slices.setdefault(item.slice, []).append(item)
    if work == "sentences":
        slices = {name: sentence_items(group) for name, group in slices.items()}
    return [item for group in slices.values() for item in group[:a_slice]]


def sentence_items(items: Sequence[EvalItem]) -> list[EvalItem]:
    """A choice between the item's answer and those of the three items after it."""
    made = []
    for place, item in enumerate(items):
        choices = tuple(dict.fromkeys(items[(place + step) % len(items)].answer for step in range(4)))
        if len(choices) > 1:
            made.append(replace(item, scorer="choice", choices=choices))
    return made


# --- in the child --------------------------------------------------------------------------------------------------


def serve(parent: int) -> None:
    """Answer the parent's questions until its pipe closes."""
    process.die_with(parent)
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints must not reach the pipe
    from quantplay.harness.quality import quiet

    with quiet():
        job = json.loads(sys.stdin.readline())
        items = {work: items_of(work, job["items_a_slice"]) for work in WORKS}
        open_arm = {"HFLM": open_hflm, "llama.cpp": open_llama}[job["arm"]]
        started = time.perf_counter()
        import lm_eval.evaluator  # noqa: F401 - its import is not model loading

        at_batch = open_arm(job)
        imported = time.perf_counter()
        at_batch(1)
        loaded = time.perf_counter()
        pipe.write(json.dumps({"import_seconds": imported - started, "load_seconds": loaded - imported}) + "\n")
        for line in sys.stdin:
            question = json.loads(line)
            pipe.write(json.dumps(one_turn(at_batch(question["batch"]), items[question["work"]])) + "\n")


def one_turn(lm: Any, items: Sequence[EvalItem]) -> dict[str, Any]:
    """From items to scores, by lm-eval's evaluator and quantplay's tasks in both arms."""
    from quantplay.harness.quality import run_tasks
    from quantplay.harness.tasks import SCORE, ChoiceTask, item_tasks

    wall, cpu = time.perf_counter(), time.process_time()
    tasks = item_tasks(items, DECODING)
    samples = run_tasks(lm, tasks)
    responses: dict[str, str] = {}
    scores: dict[str, float] = {}
    for name, task in tasks.items():
        for sample in samples[name]:
            found = sample["filtered_resps"]
            responses[sample["doc"]["id"]] = (
                task.answer(sample["doc"], found) if isinstance(task, ChoiceTask) else found[0]
            )
            scores[sample["doc"]["id"]] = float(sample[SCORE])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"wall_seconds": wall, "cpu_seconds": cpu, "responses": responses, "scores": scores}


def open_hflm(job: Mapping[str, Any]) -> Callable[[int], Any]:
    """lm-eval's own HFLM, untouched, at any batch size."""
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(1)
    opened: list[Any] = []

    def at_batch(batch: int) -> Any:
        if not opened:
            opened.append(HFLM(pretrained=str(PILOT / "model"), dtype="float32", batch_size=batch, device="cpu"))
        opened[0].batch_size_per_gpu = batch
        return opened[0]

    return at_batch


def open_llama(job: Mapping[str, Any]) -> Callable[[int], Any]:
    """quantplay's llama.cpp model over the same weights, with a context of its own for each batch size."""
    from quantplay.engines.llama_cpp import LlamaModel
    from quantplay.harness.lm_llama import LlamaLM

    reference = Path(job["reference"])
    opened: dict[int, Any] = {}

    def at_batch(batch: int) -> Any:
        if batch not in opened:
            model = LlamaModel(reference, threads=1, context_tokens=CONTEXT_TOKENS, sequences=batch)
            opened[batch] = LlamaLM(model)
        return opened[batch]

    return at_batch
