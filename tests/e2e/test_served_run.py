"""A plan whose runtime is a server: both arms answered and measured through it, down to a package that verifies and is made again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow

REASONS = [
    {"rule": "calibration.count", "reason": "Enough to go through every step, and fast."},
    {
        "rule": "envelope.wrong_move",
        "reason": "The server itself is larger than this small model; the way is what is tried.",
    },
]


@pytest.fixture(scope="module")
def plan(playground: Playground) -> Path:
    return playground.plan(
        "served", envelope__runtime="llama.cpp-server", envelope__types=["Q4_K_M"], envelope__batch=2, deviations=REASONS
    )  # fmt: skip


def servers(playground: Playground) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or ()
        if "llama_cpp.server" in words and str(playground.home) in " ".join(words):
            found.append(one)
    return found


def test_a_server_that_dies_ends_the_run_with_its_last_words_and_records_nothing_of_the_play(
    playground: Playground, plan: Path
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "quantplay.cli", "run", str(plan)], env=playground.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while not (found := servers(playground)):
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.1)
    for one in found:
        one.kill()
    told = run.communicate()[0]
    assert run.returncode in (1, 3), told
    assert "server" in told[told.index("do this") - 2000 :], told
    assert servers(playground) == []


def test_a_model_is_judged_behind_the_server_that_will_serve_it(playground: Playground, plan: Path) -> None:
    code, told = playground.run(plan)
    assert code == 0, told
    folder = Path(told["package"]["path"])
    baseline, evaluation = (
        json.loads((folder / f"{name}.json").read_text())["record"] for name in ("baseline", "evaluation")
    )
    for arm in (baseline["reference"], evaluation["candidate"]):
        assert arm["runtime"] == "llama.cpp-server"
        assert arm["serving"]["server"].startswith("llama-cpp-python ")
        assert "--n_ctx 256" in arm["serving"]["flags"]
        assert "port" not in json.dumps(arm["serving"])
    assert baseline["source"]["runtime"] == "transformers"
    losses = evaluation["hardest_loss_candidate"]
    assert losses.keys() == evaluation["hardest_loss_reference"].keys() == set(baseline["hardest"])
    assert evaluation["divergence"]["measured_in"] == "llama.cpp"
    assert evaluation["performance"]["batch"] == 2
    report = (folder / "report.html").read_text()
    assert "asked 2 at once" in report
    assert "a server does not tell whole distributions" in report
    assert "predicted" in report[report.index('id="attempts"') :]
    verified = playground.quantplay("verify", str(folder))
    assert verified.returncode == 0, verified.stdout
    replayed = playground.quantplay("replay", str(folder), "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["made"] == json.loads((folder / "artifact.json").read_text())["sha256"]
    assert servers(playground) == []
