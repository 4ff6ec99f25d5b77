"""A model behind llama.cpp's OpenAI-compatible server: it answers as in process, is the one asked for, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from quantplay.errors import ChildProcessFailed, InputError, IntegrityError, MissingDependency, ServiceUnavailable
from quantplay.evalset import EvalItem, read_items
from quantplay.harness import server as module
from quantplay.harness.quality import measure
from quantplay.harness.server import Serving, served
from quantplay.harness.server_load import measure_served
from quantplay.plan import Decoding
from quantplay.plays.alone import measure_alone

pytestmark = pytest.mark.slow


def serving(model: Path, **changes: Any) -> Serving:
    return Serving(
        **{"kind": "llama.cpp", "model": model, "context_tokens": 512, "concurrency": 2, "threads": 1} | changes
    )


def test_it_answers_and_scores_as_in_process(pilot: Path, pilot_model: Path, candidate_gguf: Path) -> None:
    chosen = EvalItem(
        id="choice",
        slice="choices",
        prompt="Which of these is a word?\n",
        answer="order",
        document="choice",
        scorer="choice",
        choices=("order", "qqzx", "77"),
    )
    items = [*read_items(pilot / "evaluation" / "dev.jsonl")[::40], chosen]
    common: dict[str, Any] = {
        "model": candidate_gguf,
        "items": items,
        "decoding": Decoding(max_tokens=64),
        "threads": 1,
    }
    common["gold_loss_ids"] = [item.id for item in items[:6]]
    inside = measure(runtime="llama.cpp", batch=4, **common)
    outside = measure(runtime="llama.cpp-server", batch=3, tokenizer=pilot_model, **common)
    assert [(one.id, one.response, one.score) for one in outside.items] == [
        (one.id, one.response, one.score) for one in inside.items
    ]
    losses = [
        (one.gold_loss_nats, other.gold_loss_nats) for one, other in zip(inside.items, outside.items, strict=True)
    ]
    measured = [(one, other) for one, other in losses if one is not None]
    assert len(measured) == 6
    assert all(
        other == pytest.approx(one, abs=2e-3) for one, other in measured
    )  # batches of other sizes round differently
    assert inside.prompts == outside.prompts
    assert outside.serving["server"].startswith("llama.cpp ")


def test_concurrent_clients_are_all_answered_and_nothing_is_left(candidate_gguf: Path) -> None:
    with served(serving(candidate_gguf)) as server:
        alone = measure_served(server, ["Order 7:", "Sum:"], concurrency=1, requests=4, max_tokens=12)
        many = measure_served(server, ["Order 7:", "Sum:"], concurrency=4, requests=8, max_tokens=12)
        pid = server.pid
    assert many.tokens == 2 * alone.tokens  # greedy: the same prompts, twice as often
    assert 0 < alone.time_to_first_token_ms.p50 <= alone.time_to_first_token_ms.p95
    assert many.time_to_first_token_ms.p50 > alone.time_to_first_token_ms.p50  # this server answers one at a time
    assert many.tokens_per_second == pytest.approx(many.tokens / many.seconds)
    assert not psutil.pid_exists(pid)


def test_a_team_measures_a_served_model_with_one_call(
    pilot: Path, pilot_model: Path, candidate_gguf: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join((pilot / "evaluation" / "dev.jsonl").read_text().splitlines(keepends=True)[:6]))
    common: dict[str, Any] = {"batch": 2, "decoding": Decoding(max_tokens=64), "context_tokens": 512, "threads": 1}
    report = measure_alone(
        candidate_gguf, [few], runtime="llama.cpp-server", speed=True, tokenizer=pilot_model, **common
    )
    assert (len(report.items), report.runtime, report.precision) == (6, "llama.cpp-server", "Q4_K_M")
    assert report.served is not None
    assert (report.served.concurrency, report.served.requests) == (2, 16)
    assert report.served.tokens_per_second > 0
    with pytest.raises(InputError, match="needs its tokenizer"):
        measure_alone(candidate_gguf, [few], runtime="llama.cpp-server", **common)
    with pytest.raises(InputError, match="can't load this model"):
        measure_alone(pilot_model, [few], runtime="llama.cpp-server", **common)


def test_another_model_on_the_port_is_not_mistaken_for_it(
    candidate_gguf: Path, reference_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(serving(reference_gguf)) as stranger:
        port = int(stranger.url.split(":")[2].split("/")[0])
        monkeypatch.setattr(module, "free_port", lambda: port)
        with pytest.raises((IntegrityError, ChildProcessFailed)) as refused, served(serving(candidate_gguf)):
            pass
    if isinstance(refused.value, IntegrityError):
        assert stranger.alias in str(refused.value)


def test_a_server_that_dies_says_why(candidate_gguf: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(candidate_gguf.read_bytes()[:-100_000])
    with (
        pytest.raises(
            ChildProcessFailed, match=r"ended with status \d+ before it served the model\n.*Traceback"
        ) as died,
        served(serving(cut)),
    ):
        pass
    assert "do this" in str(died.value)


def test_a_server_killed_under_load_is_an_error_and_no_figure(candidate_gguf: Path) -> None:
    with served(serving(candidate_gguf)) as server:
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ServiceUnavailable, match="did not answer"):
            measure_served(server, ["Order 7:"], concurrency=2, requests=4, max_tokens=12)


def test_it_dies_with_whoever_started_it(candidate_gguf: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from quantplay.harness.server import Serving, served\n"
        "with served(Serving(kind='llama.cpp', model=Path(sys.argv[1]), context_tokens=64, concurrency=1, threads=1)) as server:\n"
        "    print(server.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(candidate_gguf)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.1)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed: nothing is missing")
def test_a_missing_runtime_is_one_line_with_its_command(candidate_gguf: Path) -> None:
    with (
        pytest.raises(MissingDependency, match="vllm is not installed here") as missing,
        served(serving(candidate_gguf, kind="vllm")),
    ):
        pass
    assert missing.value.fix is not None
    assert "pip install vllm" in missing.value.fix
