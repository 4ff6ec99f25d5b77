"""A model behind llama.cpp's OpenAI-compatible server: it answers as in process, is the one asked for, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from quantplay.engines.transformers_model import load_tokenizer
from quantplay.errors import ChildProcessFailed, InputError, IntegrityError, MissingDependency, ServiceUnavailable
from quantplay.evalset import EvalItem, read_items, read_texts
from quantplay.harness import server as module
from quantplay.harness.quality import measure
from quantplay.harness.server import Server, served
from quantplay.harness.server_command import Serving
from quantplay.harness.server_load import Prompt, ServedTurn, measure_served
from quantplay.harness.server_speed import filling
from quantplay.harness.speed import measure_speed
from quantplay.plan import Decoding
from quantplay.plays.alone import measure_alone

pytestmark = pytest.mark.slow


def serving(model: Path, **changes: Any) -> Serving:
    return Serving(
        **{"runtime": "llama.cpp-server", "model": model, "context_tokens": 512, "concurrency": 2, "threads": 1}
        | changes
    )


def load(server: Server, clients: int, texts: tuple[str, ...] = ("Order 7:", "Sum:"), **changes: Any) -> ServedTurn:
    """One turn of short prompts, each beginning with another number."""
    prompts = (Prompt(f"{number} {text}", 8) for number, text in enumerate(cycle(texts)))
    return measure_served(server, prompts, clients=clients, **{"max_tokens": 12, "forbidden": (0, 1, 2)} | changes)


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
    common["gold_loss_ids"] = [item.id for item in items]  # also those after whose answer the text ends at once
    inside = measure(runtime="llama.cpp", batch=4, **common)
    outside = measure(runtime="llama.cpp-server", batch=3, tokenizer=pilot_model, **common)
    assert [(one.id, one.response, one.score) for one in outside.items] == [
        (one.id, one.response, one.score) for one in inside.items
    ]
    losses = [
        (one.gold_loss_nats, other.gold_loss_nats) for one, other in zip(inside.items, outside.items, strict=True)
    ]
    measured = [(one, other) for one, other in losses if one is not None]
    assert len(measured) == len(items)
    assert all(
        other == pytest.approx(one, rel=2e-3, abs=4e-3) for one, other in measured
    )  # batches of other sizes round differently
    assert inside.prompts == outside.prompts
    assert outside.serving["server"].startswith("llama-cpp-python 0.")


def test_an_answer_has_no_penalty_on_words_said_before(reference_gguf: Path, pilot_model: Path) -> None:
    """llama.cpp's server has one by default: what repeats itself would come out otherwise than in process."""
    repeats = [
        EvalItem(
            id=str(number),
            slice="a",
            prompt=f"7 7 7 7 7 7 7 7 {number}",
            answer="7",
            document=str(number),
            scorer="exact",
        )
        for number in range(12)
    ]
    common: dict[str, Any] = {
        "model": reference_gguf,
        "items": repeats,
        "threads": 1,
        "decoding": Decoding(max_tokens=48, stop=()),
    }
    inside = measure(runtime="llama.cpp", batch=1, **common)
    outside = measure(runtime="llama.cpp-server", batch=2, tokenizer=pilot_model, **common)
    assert [one.response for one in inside.items] == [one.response for one in outside.items]


def test_concurrent_clients_are_all_answered_and_nothing_is_left(candidate_gguf: Path) -> None:
    with served(serving(candidate_gguf)) as server:
        alone, many = load(server, 1), load(server, 4)
        pid = server.pid
    assert (alone.tokens, many.tokens) == (3 * 12, 12 * 12)  # three requests a client, and none ends before its time
    assert (len(alone.answered), len(many.answered)) == (2, 8)  # a client's first request meets no queue
    assert all(0 < one.first_token_seconds < one.seconds for one in many.answered)
    wait = [median(one.first_token_seconds for one in turn.answered) for turn in (alone, many)]
    assert wait[1] > wait[0]  # this server answers one at a time
    assert not psutil.pid_exists(pid)


def test_speed_and_memory_are_those_of_the_server(
    reference_gguf: Path, candidate_gguf: Path, pilot: Path, pilot_model: Path
) -> None:
    texts = [sample.text for sample in read_texts(pilot / "heldout" / "text.jsonl")]
    models = {"reference": reference_gguf, "candidate": candidate_gguf}
    found = measure_speed(
        models,
        texts,
        context_tokens=128,
        batch=3,
        threads=1,
        repeats=6,
        runtime="llama.cpp-server",
        tokenizer=pilot_model,
    )
    full, small = found["reference"], found["candidate"]
    inside = measure_speed(models, texts, context_tokens=128, batch=1, threads=1, repeats=3)
    for name, one in found.items():
        assert (one.batch, one.context_tokens, one.repeats, one.device_bytes) == (3, 128, 3, None)
        assert (one.weights_bytes, one.cache_bytes) == (inside[name].weights_bytes, inside[name].cache_bytes)
        assert one.peak_resident_bytes > one.weights_bytes + one.cache_bytes
        assert 0 < one.time_per_token_ms.p50 < one.time_to_first_token_ms.p50  # of three clients, two wait
    assert small.peak_resident_bytes < full.peak_resident_bytes


def test_no_prompt_begins_like_another_and_all_fill_the_context(pilot: Path, pilot_model: Path) -> None:
    """A server that keeps what it has read would answer a prompt that begins like the one before at once."""
    tokenizer = load_tokenizer(pilot_model)
    texts = [sample.text for sample in read_texts(pilot / "heldout" / "text.jsonl")]
    prompts = list(islice(filling(tokenizer, texts, 100), 40))
    assert all(90 <= one.tokens <= 100 for one in prompts)
    assert all(len(tokenizer(one.text)["input_ids"]) == one.tokens for one in prompts)
    starts = [tuple(tokenizer(one.text)["input_ids"][:9]) for one in prompts]
    assert all(one != other for one, other in pairwise(starts))


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
    assert report.performance is not None
    assert (report.performance.batch, report.performance.context_tokens) == (2, 512)
    assert report.performance.generated_tokens_per_second > 0
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
            load(server, 2)


def test_a_server_killed_while_it_is_asked_is_one_error_that_says_so(
    pilot: Path, pilot_model: Path, candidate_gguf: Path
) -> None:
    """The process itself is named, not the connection that broke; nothing comes out of what was answered before."""
    killed = []

    def kill(done: int, _total: int, _what: str) -> None:
        if done > 3 and not killed:
            mine = psutil.Process().children(recursive=True)
            (server,) = [one for one in mine if one.cmdline()[1:3] == ["-m", "llama_cpp.server"]]
            server.kill()
            killed.append(server.pid)

    with pytest.raises(ChildProcessFailed, match="was killed by SIGKILL while it was asked"):
        measure(
            runtime="llama.cpp-server", model=candidate_gguf, items=read_items(pilot / "evaluation" / "dev.jsonl")[:40],
            decoding=Decoding(max_tokens=32), batch=2, threads=1, tokenizer=pilot_model, on_progress=kill,
        )  # fmt: skip
    assert killed


def test_what_does_not_fit_the_context_is_refused_by_name(pilot_model: Path, candidate_gguf: Path) -> None:
    long = EvalItem(id="long", slice="a", prompt="order " * 200, answer="1", document="long", scorer="exact")
    with pytest.raises(InputError, match="1 items are too long") as refused:
        measure(
            runtime="llama.cpp-server", model=candidate_gguf, items=[long], decoding=Decoding(max_tokens=8), batch=1, threads=1,
            tokenizer=pilot_model, context_tokens=128,
        )  # fmt: skip
    assert refused.value.faults[0].where == "long"


def gone(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_whoever_started_it(candidate_gguf: Path, number: int) -> None:
    code = (
        "import sys, time; from pathlib import Path; from quantplay.harness.server import served\n"
        "from quantplay.harness.server_command import Serving\n"
        "with served(Serving(runtime='llama.cpp-server', model=Path(sys.argv[1]), context_tokens=64, concurrency=1, threads=1)) as server:\n"
        "    print(server.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(candidate_gguf)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(number)
    parent.communicate()
    assert gone(pid), "the server outlived its parent"


@pytest.mark.parametrize("how", ["the parent is killed", "the server ends", "it is stopped"])
def test_what_a_server_started_ends_with_it(how: str, tmp_path: Path) -> None:
    """vLLM computes in processes of its own, which an end of the one that listens does not end."""
    script, note = tmp_path / "server.py", tmp_path / "pid"
    script.write_text(
        "import os, subprocess, sys, time\n"
        f"helper = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'])\n"
        f"open({str(note)!r} + '.new', 'w').write(f'{{os.getpid()}} {{helper.pid}}'); os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "time.sleep(600)"
    )
    code = (
        "import os, subprocess, sys, time\n"
        "kept = subprocess.Popen([sys.executable, '-m', 'quantplay.harness.served', str(os.getpid()), sys.executable, sys.argv[1]])\n"
        "print(kept.pid, flush=True); kept.wait(); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    keeper = int(parent.stdout.readline())
    while not note.exists():
        time.sleep(0.05)
    server, helper = map(int, note.read_text().split())
    try:
        target, number = {
            "the parent is killed": (parent.pid, signal.SIGKILL), "the server ends": (server, signal.SIGTERM),
            "it is stopped": (keeper, signal.SIGTERM),
        }[how]  # fmt: skip
        os.kill(target, number)
        assert gone(server)
        assert gone(helper)
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed: nothing is missing")
def test_a_missing_runtime_is_one_line_with_its_command(candidate_gguf: Path) -> None:
    with (
        pytest.raises(MissingDependency, match="vllm can't serve a model here: vllm is not installed") as missing,
        served(serving(candidate_gguf, runtime="vllm")),
    ):
        pass
    assert missing.value.fix is not None
    assert "pip install vllm" in missing.value.fix
