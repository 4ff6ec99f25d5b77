"""Speed and memory of models under the plan's load, measured in turns.

Each arm is a process of its own (harness/speed_arm.py), so its peak memory counts nothing of the other; the parent asks them
one at a time, A B, B A, A B ..., so a machine that gets slower or busier slows both alike. What one turn measures is in
harness/speed_load.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from quantplay import process
from quantplay.errors import ChildProcessFailed, InputError
from quantplay.evalset import read_texts
from quantplay.formats import SERVERS
from quantplay.harness.speed_load import Turn
from quantplay.process import Report
from quantplay.records import Performance, Spread

if TYPE_CHECKING:
    from quantplay.engines.llama_cpp import CacheType

REPEATS = 12  # the 95th percentile of fewer says little
WARM_UPS = 1  # turns that are not counted: they touch the pages of the file and of the cache
FEWEST_REPEATS = 3


def measure_speed(
    models: Mapping[str, Path],
    prompts: Sequence[str],
    *,
    context_tokens: int,
    batch: int,
    threads: int,
    repeats: int = REPEATS,
    runtime: str = "llama.cpp",
    cache_type: CacheType = "f16",
    tokenizer: Path | None = None,
    on_progress: Report | None = None,
) -> dict[str, Performance]:
    """Performance of every model, by its name in `models`. `prompts` give the text that fills the context.

    A server (harness/server_speed.py) needs the folder of a GGUF file's `tokenizer`.
    Nothing else should run meanwhile. Raises ChildProcessFailed when an arm dies, InputError when it can't load its file.
    """
    if repeats < FEWEST_REPEATS:
        raise InputError("too few repeats for a spread", value=repeats, allowed=f"at least {FEWEST_REPEATS}")
    if runtime in SERVERS:
        from quantplay.harness.server_speed import measure_speed_served

        return measure_speed_served(
            models, prompts, runtime=runtime, cache_type=cache_type, tokenizer=tokenizer, context_tokens=context_tokens, batch=batch,
            threads=threads, repeats=max(FEWEST_REPEATS, repeats // 2), on_progress=on_progress,
        )  # fmt: skip
    load = {
        "context_tokens": context_tokens,
        "batch": batch,
        "threads": threads,
        "text": "\n".join(prompts),
        "runtime": runtime,
        "cache_type": cache_type,
    }
    turns: dict[str, list[Turn]] = {name: [] for name in models}
    rounds = WARM_UPS + repeats
    with contextlib.ExitStack() as stack:
        arms = {name: stack.enter_context(Arm(name, path, load)) for name, path in models.items()}
        for number in range(rounds):
            order = list(arms) if number % 2 == 0 else list(reversed(arms))
            for name in order:
                turn = Turn(**arms[name].ask("turn"))
                if number >= WARM_UPS:
                    turns[name].append(turn)
            if on_progress is not None:
                on_progress(number + 1, rounds, "rounds of speed measured")
        memory = {name: arm.ask("memory") for name, arm in arms.items()}
    return {
        name: Performance(
            context_tokens=context_tokens,
            batch=batch,
            threads=threads,
            repeats=repeats,
            time_to_first_token_ms=spread([1000 * turn.first_token_seconds for turn in turns[name]]),
            time_per_token_ms=spread([1000 * turn.generation_seconds / turn.steps for turn in turns[name]]),
            prompt_tokens_per_second=median(turn.prompt_tokens / turn.prompt_seconds for turn in turns[name]),
            generated_tokens_per_second=median(batch * turn.steps / turn.generation_seconds for turn in turns[name]),
            **memory[name],
        )
        for name in models
    }


def speed_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job: `models` {name: file}, `file` (JSONL with id and text), `context_tokens`, `batch`, `threads`, optional `repeats`, `runtime`,
    `cache_type` and `tokenizer` -> {name: body of Performance}."""
    measured = measure_speed(
        {name: Path(path) for name, path in payload["models"].items()},
        [sample.text for sample in read_texts(Path(payload["file"]))],
        context_tokens=payload["context_tokens"],
        batch=payload["batch"],
        threads=payload["threads"],
        repeats=payload.get("repeats", REPEATS),
        runtime=payload.get("runtime", "llama.cpp"),
        cache_type=payload.get("cache_type") or "f16",
        tokenizer=Path(payload["tokenizer"]) if payload.get("tokenizer") else None,
        on_progress=report,
    )
    return {name: performance.body() for name, performance in measured.items()}


def spread(values: Sequence[float]) -> Spread:
    low, high = np.percentile(values, [50, 95])
    return Spread(p50=float(low), p95=float(high))


class Arm:
    """The parent's end of one arm: a child that waits for a question, one line each way."""

    def __init__(self, name: str, model: Path, load: Mapping[str, Any]) -> None:
        self.name = name
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self.child = subprocess.Popen(
            [sys.executable, "-m", "quantplay.harness.speed_arm", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **process.thread_environment(load["threads"])},
            text=True,
            encoding="utf-8",
        )
        self.first = json.dumps({**load, "model": str(model)})

    def __enter__(self) -> Self:
        try:
            self.converse(self.first)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()
        self.log.close()

    def ask(self, question: str) -> dict[str, Any]:
        return self.converse(json.dumps(question))

    def converse(self, line: str) -> dict[str, Any]:
        """Send a line, return the answer; an error of the child is raised here."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
            answer = self.child.stdout.readline()
        if not answer:
            code = self.child.wait()
            self.log.seek(0)
            said = self.log.read()[-2000:].decode(errors="replace").strip()
            raise ChildProcessFailed(
                f"the process that measures the {self.name} arm ended with status {code}\n{said}".rstrip(),
                fix="often too little memory: lower envelope.batch or envelope.context_tokens",
            )
        message = json.loads(answer)
        if "error" in message:
            raise process.revive(message["error"])
        return message
