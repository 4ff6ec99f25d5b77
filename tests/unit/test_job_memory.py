"""Memory of a run's plays, predicted before they start, and the refusal where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plan_samples import PLAN

from quantplay.envelope.jobs import answering_bytes, baseline_bytes, evaluation_bytes, free_bytes, require_memory
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.errors import InputError
from quantplay.plan import Envelope
from quantplay.plan_file import plan_from_text
from quantplay.plays.check_memory import memory_faults

PILOT = Path(__file__).parents[2] / "examples" / "pilot" / "model"
GIB = 1 << 30


def shape_of(folder: Path, **config: Any) -> ModelShape:
    told = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told | config))
    return read_shape(folder, need_weights=False)


def test_eight_billion_weights_in_float32_take_thirty_gib_and_two_files_more(tmp_path: Path) -> None:
    shape, envelope = shape_of(tmp_path), Envelope(context_tokens=512)
    assert 30 * GIB < baseline_bytes(shape, envelope) < 50 * GIB
    assert evaluation_bytes(shape, envelope, "Q4_K_M") > 4 * shape.weights + shape.weights // 2
    assert answering_bytes(shape, envelope, "Q4_K_M") < baseline_bytes(shape, envelope)


def test_more_context_and_more_sequences_never_need_less(tmp_path: Path) -> None:
    shape = shape_of(tmp_path)
    small, large = Envelope(context_tokens=256), Envelope(context_tokens=4096, batch=8)
    assert baseline_bytes(shape, small) < baseline_bytes(shape, large)
    assert evaluation_bytes(shape, small, "Q4_0") < evaluation_bytes(shape, large, "Q4_0")


def test_a_play_that_does_not_fit_is_refused_with_both_numbers() -> None:
    require_memory("baseline", 1, free_bytes())
    with pytest.raises(InputError) as caught:
        require_memory("baseline", 3 * GIB, 2 * GIB)
    assert "baseline" in str(caught.value)
    assert "3.0 GiB needed at its peak, 2.0 GiB free" in str(caught.value.value)


def test_check_finds_a_model_that_this_machine_could_never_hold() -> None:
    file = plan_from_text(PLAN, Path("plan.yaml"))
    envelope = file.parts["envelope"]
    assert list(memory_faults(file, envelope, PILOT, 64 * GIB)) == []
    (fault,) = memory_faults(file, envelope, PILOT, 1 << 20)
    assert "would not fit" in fault.what
    assert list(memory_faults(file, envelope, PILOT / "nothing", 1)) == []
