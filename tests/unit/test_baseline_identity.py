"""What makes two baselines the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories import digest, made_fingerprint, made_inputs, made_plan

from quantplay.harness.server_command import Serving, command, described
from quantplay.plays import keys


@pytest.mark.parametrize("other", [{"runtime": "transformers"}, {"batch": 7}, {"context_tokens": 999}])
def test_full_precision_served_otherwise_is_another_baseline(other: dict[str, Any]) -> None:
    plan, inputs, harness = made_plan(), made_inputs(), digest("harness")
    elsewhere = plan.model_copy(update={"envelope": plan.envelope.model_copy(update=other)})
    fingerprint = made_fingerprint()
    assert keys.baseline_key(plan, inputs, harness, fingerprint) == keys.baseline_key(
        plan, inputs, harness, fingerprint
    )
    assert keys.baseline_key(elsewhere, inputs, harness, fingerprint) != keys.baseline_key(
        plan, inputs, harness, fingerprint
    )


def served_by_a_server() -> Any:
    plan = made_plan()
    return plan.model_copy(update={"envelope": plan.envelope.model_copy(update={"runtime": "llama.cpp-server"})})


def test_another_version_of_the_server_is_another_baseline() -> None:
    plan, inputs, fingerprint = served_by_a_server(), made_inputs(), made_fingerprint()
    software = fingerprint.software.model_copy(
        update={"packages": fingerprint.software.packages | {"llama-cpp-python": "9.9.9"}}
    )
    upgraded = fingerprint.model_copy(update={"software": software})
    harness = keys.harness_of(plan, inputs)
    assert keys.baseline_key(plan, inputs, harness, upgraded) != keys.baseline_key(plan, inputs, harness, fingerprint)


def test_other_flags_of_the_server_are_another_harness_and_ports_and_paths_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, inputs = served_by_a_server(), made_inputs()
    harness = keys.harness_of(plan, inputs)
    assert harness != keys.harness_of(made_plan(), inputs)
    where = [
        Serving(runtime="llama.cpp-server", model=Path(name), context_tokens=256, concurrency=4, threads=1)
        for name in "ab"
    ]
    assert command(where[0], "x", "127.0.0.1", 1) != command(where[1], "y", "127.0.0.1", 2)
    assert described(where[0]) == described(where[1])
    monkeypatch.setattr(keys, "flags", lambda *_: ["--flash_attn", "true"])
    assert keys.harness_of(plan, inputs) != harness


@pytest.mark.parametrize("same", [{"types": ("Q2_K",)}, {"max_artifact_mib": 3.0}])
def test_what_is_tried_does_not_change_the_baseline(same: dict[str, Any]) -> None:
    plan, inputs, harness = made_plan(), made_inputs(), digest("harness")
    elsewhere = plan.model_copy(update={"envelope": plan.envelope.model_copy(update=same)})
    fingerprint = made_fingerprint()
    assert keys.baseline_key(elsewhere, inputs, harness, fingerprint) == keys.baseline_key(
        plan, inputs, harness, fingerprint
    )
