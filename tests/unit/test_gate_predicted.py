"""Predictions beside measurements, and whether the win the plan is after came."""

from __future__ import annotations

from typing import Any

import pytest
from factories import (
    digest,
    made_arm,
    made_artifact,
    made_baseline,
    made_divergence,
    made_envelope,
    made_fingerprint,
    made_inputs,
    made_items,
    made_performance,
    made_recipe,
)

from quantplay.gate.predicted import compare, win_sentences
from quantplay.plan import Envelope
from quantplay.records import EnvelopeChoice, Evaluation, Performance, Prediction, Spread

ARTIFACT = made_artifact(made_recipe(made_inputs(), "Q4_K_M"), digest("a"), 3 << 20)


def prediction(**more: Any) -> Prediction:
    told: dict[str, Any] = {
        "file_bytes": 1, "activation_bytes": 1, "reserve_bytes": 1, "native": True, "kernel": "k", "time_to_first_token_ms": 50.0,
        "time_per_token_ms": 4.0, "tokens_per_second": 250.0, "decode_bound": "compute", "prefill_bound": "compute",
        "decode_bytes": 1, "decode_flops": 1.0, "shares": {},
    }  # fmt: skip
    return Prediction.model_validate(told | more)


def choice(**more: Any) -> EnvelopeChoice:
    made = made_envelope()
    told = [one.model_copy(update={"prediction": prediction(**more)}) for one in made.candidates]
    chosen = next(one for one in told if one.type == made.chosen.type)
    return made.model_copy(update={"candidates": tuple(told), "chosen": chosen})


def measured(per_token: float = 5.0) -> Performance:
    return made_performance().model_copy(update={"time_per_token_ms": Spread(p50=per_token, p95=2 * per_token)})


def evaluation(per_token: float, full: float) -> Evaluation:
    asked, inputs = made_items(20), made_inputs()
    baseline = made_baseline(asked, inputs, set(), {})
    return Evaluation(
        baseline=digest("b"), artifact=digest("a"), harness=baseline.harness, fingerprint=made_fingerprint(),
        candidate=made_arm("candidate", asked, set(), model=digest("a"), precision="Q4_K_M"), divergence=made_divergence(0.01), performance=measured(per_token),
        reference_performance=measured(full),
    )  # fmt: skip


def test_every_number_stands_beside_its_measurement() -> None:
    found = {one.what: one for one in compare(choice(), "Q4_K_M", measured())}
    assert found.keys() == {"weights", "key-value cache", "peak memory", "time to first token", "time per token"}
    assert found["time per token"].error == pytest.approx(-0.2)
    for one in found.values():
        assert one.measured * (1 + one.error) == pytest.approx(one.predicted)


def test_a_busy_machine_slows_both_so_the_share_of_full_precision_holds() -> None:
    made = choice()
    full = made.chosen.model_copy(update={"prediction": prediction(time_per_token_ms=8.0)})
    made = made.model_copy(update={"full_precision": full})
    found = {one.what: one for one in compare(made, "Q4_K_M", measured(20.0), measured(40.0))}
    assert found["time per token"].error == pytest.approx(-0.8)
    assert found["time per token against full precision"].error == pytest.approx(0.0)


def test_a_choice_of_an_earlier_version_predicted_memory_alone() -> None:
    assert {one.unit for one in compare(made_envelope(), "Q4_K_M", measured())} == {"MiB"}
    assert compare(made_envelope(), "no such type", measured()) == ()


@pytest.mark.parametrize(("per_token", "full", "came"), [(5.0, 8.0, True), (8.0, 5.0, False)])
def test_the_win_is_confirmed_or_what_stood_in_its_way_is_named(per_token: float, full: float, came: bool) -> None:
    said = win_sentences(Envelope(bottleneck="latency"), choice(), evaluation(per_token, full), ARTIFACT)
    assert ("came" in said[0], "did not come" in said[0]) == (came, not came)
    assert came or "held up by compute" in said[0]
    assert len(said) == (1 if came else 2)


@pytest.mark.parametrize(
    ("bound", "words"), [("compute", "unpacking"), ("overhead", "neither"), ("memory bandwidth", "kernel")]
)
def test_a_candidate_slower_than_full_precision_is_caught_and_explained(bound: str, words: str) -> None:
    said = win_sentences(Envelope(), choice(decode_bound=bound), evaluation(9.0, 5.0), ARTIFACT)
    assert "takes 1.80 times as long" in said[-1]
    assert words in said[-1]
    assert "as long a token as full precision." in win_sentences(Envelope(), None, evaluation(9.0, 5.0), ARTIFACT)[-1]


def test_storage_is_won_by_the_file_alone() -> None:
    slow = evaluation(9.0, 5.0)
    full = slow.reference_performance.weights_bytes
    for size, came in ((full - 1, True), (full, False)):
        artifact = made_artifact(made_recipe(made_inputs(), "Q4_K_M"), digest("a"), size)
        said = win_sentences(Envelope(bottleneck="storage"), None, slow, artifact)
        assert ("came" in said[0] and "did not come" not in said[0]) == came
        assert "storage won: size of the file" in said[0]
