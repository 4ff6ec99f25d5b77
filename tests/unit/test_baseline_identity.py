"""What makes two baselines the same one."""

from __future__ import annotations

from typing import Any

import pytest
from factories import digest, made_fingerprint, made_inputs, made_plan

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


@pytest.mark.parametrize("same", [{"types": ("Q2_K",)}, {"max_artifact_mib": 3.0}])
def test_what_is_tried_does_not_change_the_baseline(same: dict[str, Any]) -> None:
    plan, inputs, harness = made_plan(), made_inputs(), digest("harness")
    elsewhere = plan.model_copy(update={"envelope": plan.envelope.model_copy(update=same)})
    fingerprint = made_fingerprint()
    assert keys.baseline_key(elsewhere, inputs, harness, fingerprint) == keys.baseline_key(
        plan, inputs, harness, fingerprint
    )
