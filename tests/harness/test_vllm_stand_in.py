"""All that is done around vLLM, with the stand-in of tests/vllm_stand_in.py in its place: vLLM itself needs an accelerator."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from quantplay.engines.model_file import write_model_file
from quantplay.evalset import EvalItem, read_items
from quantplay.harness.quality import measure
from quantplay.harness.server_command import require_runtime
from quantplay.harness.speed import measure_speed
from quantplay.plan import Decoding

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM itself is installed"),
]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, told = tmp_path / "bin" / "vllm", tmp_path / "lib" / "vllm-0.0.0+stand.in.dist-info"
    for folder in (program.parent, told):
        folder.mkdir(parents=True)
    script = Path(__file__).parents[1] / "vllm_stand_in.py"
    program.write_text(f"#!{sys.executable}\nimport runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')\n")
    program.chmod(0o755)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.0.0+stand.in\n")
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(told.parent), prepend=":")
    monkeypatch.syspath_prepend(told.parent)


@pytest.fixture
def one_file(pilot_model: Path, tmp_path: Path) -> Path:
    file = tmp_path / "model.tar"
    write_model_file(pilot_model, file)
    return file


@pytest.mark.usefixtures("stand_in")
def test_it_is_asked_what_transformers_is_asked(pilot: Path, pilot_model: Path, one_file: Path) -> None:
    chosen = EvalItem(
        id="choice", slice="choices", prompt="Which of these is a word?\n", answer="order", document="choice", scorer="choice",
        choices=("order", "qqzx", "77"),
    )  # fmt: skip
    items = [*read_items(pilot / "evaluation" / "dev.jsonl")[::60], chosen]
    common: dict[str, Any] = {"items": items, "decoding": Decoding(max_tokens=32), "threads": 1, "batch": 2}
    common["gold_loss_ids"] = [item.id for item in items[:4]]
    inside = measure(runtime="transformers", model=pilot_model, **common)
    outside = measure(runtime="vllm", model=one_file, **common)
    assert [(one.id, one.response, one.score) for one in outside.items] == [
        (one.id, one.response, one.score) for one in inside.items
    ]
    for one, other in zip(inside.items, outside.items, strict=True):
        assert (one.gold_loss_nats is None) == (other.gold_loss_nats is None)
        assert one.gold_loss_nats is None or other.gold_loss_nats == pytest.approx(one.gold_loss_nats, abs=1e-4)
    assert outside.serving["server"] == "vllm 0.0.0+stand.in"
    assert "--no-enable-prefix-caching" in outside.serving["flags"]
    assert (inside.prompts, inside.tokens) == (outside.prompts, outside.tokens)


@pytest.mark.usefixtures("stand_in")
def test_one_server_runs_at_a_time(pilot_model: Path, one_file: Path) -> None:
    assert require_runtime("vllm") == "0.0.0+stand.in"
    found = measure_speed(
        {"reference": one_file, "candidate": pilot_model}, ["Order 7 holds two lamps and a chair. " * 20], context_tokens=32,
        batch=2, threads=1, repeats=6, runtime="vllm",
    )  # fmt: skip
    for one in found.values():
        assert (one.repeats, one.batch, one.context_tokens) == (3, 2, 32)
        assert one.weights_bytes == found["reference"].weights_bytes > 5_000_000
        assert one.cache_bytes > 0
        assert one.peak_resident_bytes > one.weights_bytes
