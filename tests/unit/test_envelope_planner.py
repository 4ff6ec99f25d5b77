"""Predictions, ranks, chips and refusals of the planner: properties, and what a reader of the table may rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factories import made_fingerprint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.envelope.chips import CHIPS, FP8_UNITS, find_chip, kernel_of, machine_of
from quantplay.envelope.choose import DEFAULT_ORDER, ORDERS, choose
from quantplay.envelope.fitting import mismatch
from quantplay.envelope.planner import probed_types
from quantplay.envelope.roofline import at, resident_share
from quantplay.envelope.runtimes import RUNTIMES
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.envelope.wrong_move import wrong_moves
from quantplay.errors import InputError
from quantplay.formats import TYPES, types_of
from quantplay.plan import BusinessCase, Envelope, Gate
from quantplay.records import Candidate, EnvelopeChoice, KernelRate, Machine

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
HERE = made_fingerprint()


def shape_of(folder: Path, **config: Any) -> ModelShape:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA_8B | config))
    return read_shape(folder, need_weights=False)


def probed(*kinds: str, bandwidth: float = 20.0, slow: float = 1.0) -> Machine:
    """A machine whose kernels stream at `bandwidth` GB/s, and compute `slow` times 20 picoseconds a weight."""
    rates = {}
    for kind in kinds:
        bits = {"F32": 32.0, "F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5}.get(kind, 4.5)
        cached = 20 * slow if bits < 16 else 10
        streamed = max(cached, bits / 8 / bandwidth * 1000)
        rates[kind] = KernelRate(bits=bits, streamed_ps={"1": streamed}, cached_ps={"1": cached, "64": 40 * cached})
    return Machine(
        name="test", source="made up", measured=True, threads=1, bandwidth_gb_s=bandwidth, gflops={"F32": 100.0},
        cache_bytes=32 << 20, node_us=0.05, memory_bytes=1 << 40, attention_ps={"1": 15_000.0, "64": 5_000.0}, kernels=rates,
    )  # fmt: skip


def planned(folder: Path, envelope: Envelope, machine: Machine, **more: Any) -> EnvelopeChoice:
    config = more.pop("config", {})
    chip = CHIPS.get(machine.name)
    return choose(envelope, folder, HERE, machine=machine, chip=chip, shape=shape_of(folder, **config), **more)


ALL = ("F32", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "IQ4_NL", "F16")


def test_a_large_model_is_held_up_by_memory_and_fewer_bits_are_faster(tmp_path: Path) -> None:
    choice = planned(tmp_path, Envelope(types=("Q8_0", "Q4_K_M")), probed(*ALL))
    eight, four = (one.prediction for one in choice.candidates)
    assert eight is not None
    assert four is not None
    assert (eight.decode_bound, four.decode_bound) == ("memory bandwidth", "memory bandwidth")
    assert four.time_per_token_ms < eight.time_per_token_ms
    # 8.03 billion weights less the embedding that is only looked up, at 8.5 bits and 20 GB/s
    assert eight.time_per_token_ms == pytest.approx(1000 * 7.5e9 * 8.5 / 8 / 20e9, rel=0.05)
    assert choice.full_precision is not None
    assert choice.wrong_moves == ()
    assert any("operations a byte" in reason for reason in choice.reasons)
    assert EnvelopeChoice.model_validate(choice.body()) == choice


def test_a_kernel_slower_than_memory_is_named_as_what_holds_it_up(tmp_path: Path) -> None:
    choice = planned(tmp_path, Envelope(types=("Q4_K_M",), bottleneck="latency"), probed(*ALL, bandwidth=400, slow=10))
    told = choice.chosen.prediction
    assert told is not None
    assert told.decode_bound == "compute"
    assert "held up by compute" in choice.chosen.reason
    assert any("slower than full precision" in sentence for sentence in choice.wrong_moves)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chip=st.sampled_from(list(CHIPS)), runtime=st.sampled_from(list(RUNTIMES)), batch=st.sampled_from([1, 4, 32, 256]),
    context=st.sampled_from([128, 2048, 8192]), bottleneck=st.sampled_from(["memory", "latency", "throughput", "cost"]),
)  # fmt: skip
def test_every_chip_of_the_table_can_be_planned_for(
    tmp_path: Path, chip: str, runtime: Any, batch: int, context: int, bottleneck: Any
) -> None:
    envelope = Envelope(
        runtime=runtime, device=CHIPS[chip].kind, batch=batch, context_tokens=context, bottleneck=bottleneck
    )
    choice = planned(tmp_path, envelope, machine_of(chip, CHIPS[chip]))
    assert {one.type for one in choice.candidates} == set(ORDERS[runtime])
    assert [one.rank for one in choice.candidates] == list(range(1, len(choice.candidates) + 1))
    fits = [one.fits for one in choice.candidates]
    assert fits == sorted(fits, reverse=True)
    for one in choice.candidates:
        told = one.prediction
        assert told is not None
        assert told.time_per_token_ms > 0
        if RUNTIMES[runtime].at_once(batch) == batch:
            assert told.tokens_per_second == pytest.approx(1000 * batch / told.time_per_token_ms)
        else:  # one after the other
            assert told.tokens_per_second < 1000 * batch / told.time_per_token_ms
        # Nothing is faster than the datasheet's bandwidth.
        assert told.time_per_token_ms >= 1000 * told.decode_bytes / (1e9 * CHIPS[chip].bandwidth_gb_s)
        assert one.reason.count("not native") == (not told.native)
    assert choice.machine is not None
    assert not choice.machine.measured


def test_reading_a_prompt_on_a_gpu_is_compute_and_generating_alone_is_memory(tmp_path: Path) -> None:
    name, chip = find_chip("h100")
    choice = planned(tmp_path, Envelope(runtime="vllm", device="gpu", context_tokens=8192), machine_of(name, chip))
    told = {one.type: one.prediction for one in choice.candidates}
    assert all(one is not None and one.decode_bound == "memory bandwidth" for one in told.values())
    assert all(one is not None and one.prefill_bound == "compute" for one in told.values())
    assert choice.chosen.type == "W4A16"


def test_many_requests_for_throughput_want_eight_bit_arithmetic(tmp_path: Path) -> None:
    name, chip = find_chip("h100")
    envelope = Envelope(runtime="vllm", device="gpu", batch=1024, context_tokens=128, bottleneck="throughput")
    choice = planned(tmp_path, envelope, machine_of(name, chip))
    assert choice.chosen.type in ("FP8_DYNAMIC", "W8A8")
    assert choice.chosen.prediction is not None


def test_what_a_chip_does_not_run_natively_comes_last_and_says_so(tmp_path: Path) -> None:
    name, chip = find_chip("A100")
    choice = planned(tmp_path, Envelope(runtime="vllm", device="gpu"), machine_of(name, chip))
    assert choice.candidates[-1].type == "FP8_DYNAMIC"
    assert "no 8-bit float units" in choice.candidates[-1].reason


def test_a_model_larger_than_the_chip_does_not_fit(tmp_path: Path) -> None:
    name, chip = find_chip("T4")
    choice = planned(tmp_path, Envelope(runtime="vllm", device="gpu", types=("W8A8",)), machine_of(name, chip), config={
        "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64, "intermediate_size": 28672,
    })  # fmt: skip
    assert not choice.chosen.fits
    assert "of NVIDIA T4" in choice.chosen.reason


def test_requests_wait_for_each_other_where_a_server_takes_one_at_a_time(tmp_path: Path) -> None:
    machine, load = probed(*ALL), {"types": ("Q4_K_M",), "context_tokens": 512}

    def chosen(runtime: Any, batch: int) -> Candidate:
        return planned(tmp_path, Envelope(runtime=runtime, batch=batch, **load), machine).chosen

    alone, many = chosen("llama.cpp-server", 1), chosen("llama.cpp-server", 4)
    assert alone.prediction is not None
    assert many.prediction is not None
    assert many.prediction.time_per_token_ms == alone.prediction.time_per_token_ms
    answer = alone.prediction.time_to_first_token_ms + 31 * alone.prediction.time_per_token_ms
    assert many.prediction.time_to_first_token_ms == pytest.approx(alone.prediction.time_to_first_token_ms + 3 * answer)
    assert many.prediction.tokens_per_second == pytest.approx(32_000 / answer)
    assert (many.cache_bytes, many.total_bytes) == (alone.cache_bytes, alone.total_bytes)
    inside = chosen("llama.cpp", 4)
    assert inside.cache_bytes == 4 * many.cache_bytes
    assert inside.weights_bytes == many.weights_bytes


def test_targets_that_are_missed_by_far_move_a_candidate_back(tmp_path: Path) -> None:
    machine = probed(*ALL)
    fast = planned(tmp_path, Envelope(types=("Q8_0", "Q4_K_M")), machine).candidates[1].prediction
    assert fast is not None
    envelope = Envelope(types=("Q8_0", "Q4_K_M"), min_tokens_per_second=fast.tokens_per_second)
    choice = planned(tmp_path, envelope, machine)
    assert [one.type for one in choice.candidates] == ["Q4_K_M", "Q8_0"]
    assert "below min_tokens_per_second" in choice.candidates[1].reason
    assert choice.candidates[1].fits


def test_without_a_machine_nothing_is_predicted_and_the_order_is_as_before(tmp_path: Path) -> None:
    choice = choose(Envelope(), tmp_path, HERE, shape=shape_of(tmp_path))
    assert tuple(one.type for one in choice.candidates) == DEFAULT_ORDER
    assert all(one.prediction is None for one in choice.candidates)
    assert {"machine", "full_precision", "wrong_moves"}.isdisjoint(choice.body())


@pytest.mark.parametrize(("name", "chip"), CHIPS.items())
def test_every_chip_has_a_source_and_numbers(name: str, chip: Any) -> None:
    assert chip.source.startswith("https://")
    assert chip.seen
    assert all(page.startswith("https://") for page in chip.seen)
    assert chip.bandwidth_gb_s > 0
    assert chip.tflops["int8"] >= chip.tflops["bfloat16"] > 0
    assert ("fp8" in chip.tflops) == (chip.architecture in FP8_UNITS)
    assert find_chip(name.upper()) == (name, chip)
    assert find_chip(name.partition(" ")[2]) == (name, chip)  # an L4 is no L40S


@pytest.mark.parametrize("wanted", ["NVIDIA", "", "Z80", "nvidia l*"])
def test_a_chip_that_is_none_or_several_is_refused(wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        find_chip(wanted)
    assert "NVIDIA L4" in (caught.value.allowed or "")


@pytest.mark.parametrize(
    ("envelope", "words"),
    [
        (Envelope(), None),
        (Envelope(device="gpu"), None),
        (Envelope(device="gpu", batch=32), "few requests"),
        (Envelope(device="gpu", bottleneck="throughput"), "few requests"),
        (Envelope(runtime="vllm"), "serves on gpu"),
        (Envelope(runtime="vllm", device="gpu", batch=64), None),
        (Envelope(runtime="transformers", types=("GPTQ_INT4",)), "made for GPU kernels"),
        (Envelope(runtime="transformers", types=("BNB_INT8",)), None),
    ],
)
def test_the_format_follows_from_runtime_and_device(envelope: Envelope, words: str | None) -> None:
    why = mismatch(envelope, envelope.types or ORDERS[envelope.runtime])
    assert (why is None) == (words is None)
    assert words is None or words in str(why)


GATE = Gate.model_validate({
    "slices": {"a": {"max_drop": 2, "broken_drop": 5}},
    "hardest": {"max_drop": 4, "broken_drop": 9, "max_loss_rise": 0.1, "broken_loss_rise": 0.3},
})  # fmt: skip
CASE = BusinessCase(
    requests_per_day=10, tokens_per_request=100, serving_cost_per_million_tokens=1, serving_saving_percent=50, training_cost=1,
    months=12, quantizing_cost=500,
)  # fmt: skip


def one(total: int, **more: Any) -> Candidate:
    return Candidate(
        format="gguf", type="Q4_K_M", bits_per_weight=4.5, weights_bytes=total // 2, cache_bytes=0, total_bytes=total, fits=True,
        rank=1, reason="", **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("envelope", "gate", "case", "full", "words"),
    [
        (Envelope(), GATE, None, 400 << 20, None),
        (Envelope(), None, None, 105 << 20, "Already small"),
        (Envelope(memory_mib=500), None, None, 400 << 20, "Already small enough"),
        (Envelope(memory_mib=300), None, None, 400 << 20, None),
        (Envelope(bottleneck="cost"), None, CASE, 400 << 20, "Too little volume"),
        (Envelope(), None, CASE.model_copy(update={"requests_per_day": 1e6}), 400 << 20, None),
        (Envelope(), None, CASE.model_copy(update={"quantizing_cost": 0}), 400 << 20, None),
    ],
)
def test_the_wrong_move_is_an_answer(
    envelope: Envelope, gate: Gate | None, case: BusinessCase | None, full: int, words: str | None
) -> None:
    said = wrong_moves(envelope, gate, case, one(full), [one(100 << 20)])
    assert (words is None) == (said == ())
    assert words is None or words in said[0]


def test_no_tolerance_for_loss_is_a_reason() -> None:
    body = GATE.body()
    body["slices"]["a"]["max_drop"] = 0.05
    said = wrong_moves(Envelope(), Gate.model_validate(body), None, one(400 << 20), [one(100 << 20)])
    assert "No tolerance" in said[0]


@given(st.floats(0, 1e9), st.integers(1, 1 << 30))
def test_what_stays_in_a_cache_is_a_share(size: float, cache: int) -> None:
    assert 0 <= resident_share(size, cache) <= 1
    assert resident_share(size, cache) >= resident_share(2 * size, cache)


@given(st.floats(1, 4096))
def test_a_rate_between_two_measured_ones_lies_between_them(tokens: float) -> None:
    rates = {"1": 20.0, "8": 60.0, "64": 500.0}
    found = at(rates, tokens)
    assert found >= 20
    assert tokens > 64 or found <= 500
    assert tokens < 64 or found == pytest.approx(500 * tokens / 64)


def test_what_is_probed_are_the_types_that_tensors_are_stored_in(tmp_path: Path) -> None:
    found = probed_types(shape_of(tmp_path), ("Q4_K_M", "W4A16"))
    assert found == ("Q4_K", "Q6_K", "F32")[: len(found)]
    assert {"Q4_K", "Q6_K"} <= set(found)


def test_every_default_type_belongs_to_its_runtime() -> None:
    for runtime, kinds in ORDERS.items():
        assert set(kinds) <= types_of(runtime).keys()
    for kind, serving in TYPES.items():
        assert kernel_of(kind, serving.format, "vllm", None).words


def test_a_format_that_is_unpacked_before_every_use_is_never_faster_than_full_precision(tmp_path: Path) -> None:
    envelope = Envelope(runtime="transformers", types=("W4A16", "GPTQ_INT4"), bottleneck="latency")
    choice = planned(tmp_path, envelope, probed("F32"))
    assert choice.full_precision is not None
    full = choice.full_precision.prediction
    assert full is not None
    for candidate in choice.candidates:
        assert candidate.prediction is not None
        assert not candidate.prediction.native
        assert candidate.prediction.time_per_token_ms > full.time_per_token_ms
    assert any("No native support" in sentence for sentence in choice.wrong_moves)


def test_a_narrower_cache_takes_less_and_is_read_faster(tmp_path: Path) -> None:
    wide, narrow = (
        planned(tmp_path, Envelope(types=("Q4_K_M",), context_tokens=8192, batch=16, cache_type=kind), probed(*ALL)).candidates[0]
        for kind in (None, "q8_0")
    )  # fmt: skip
    assert narrow.cache_bytes == wide.cache_bytes * 34 // 64  # 32 numbers and their scale in 34 bytes
    assert wide.prediction is not None
    assert narrow.prediction is not None
    assert narrow.prediction.time_per_token_ms < wide.prediction.time_per_token_ms
