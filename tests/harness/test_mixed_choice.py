"""Choosing a mix on the pilot, with the real scan, quantizer and harness."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from quantplay.engines.gguf_header import read_gguf_header
from quantplay.engines.llama_quantize import quantize_file
from quantplay.errors import InputError
from quantplay.evalset import read_items
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.ggml_served import GgmlServed
from quantplay.mixed.gguf_mixes import GgufMixes, padded
from quantplay.mixed.mixes import fitting_context, tensor_types_of
from quantplay.mixed.rows import held_out_rows
from quantplay.mixed.sensitivity import ScanSettings, measure_sensitivity
from quantplay.mixed.simulate import Simulator
from quantplay.plays.mixed_precision import choose, dev_text, solve_again
from quantplay.records import MixChoice

TYPES = ("Q8_0", "Q6_K", "Q4_K", "Q3_K", "Q2_K")
BUDGET = 1_350_000  # bytes; the pilot takes 1.1 million as Q2_K and 2.9 as Q8_0


@pytest.fixture(scope="module")
def lab(
    pilot: Path, pilot_model: Path, reference_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """What `choose` is given."""
    folder = tmp_path_factory.mktemp("mix")
    lines = (pilot / "evaluation" / "dev.jsonl").read_text(encoding="utf-8").splitlines()[::20]
    dev = folder / "dev.jsonl"
    dev.write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts = [item.prompt for item in read_items(pilot / "evaluation" / "dev.jsonl")]
    rows = held_out_rows(pilot_model, texts, sequences=4, tokens=128)
    simulator = Simulator(pilot_model, GgmlServed(reference_gguf, None), rows, threads=1)
    return {
        "mixes": GgufMixes(measure_sensitivity(simulator, ScanSettings(types=TYPES)), reference_gguf, None),
        "text": dev_text(dev, folder), "context_tokens": 128, "short": "0" * 64, "short_type": "Q2_K", "workdir": folder,
        "threads": 1, "rivals": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def choice(lab: dict[str, object]) -> MixChoice:
    return choose(budget_bytes=BUDGET, **lab)  # type: ignore[arg-type]


def test_the_choice_beats_what_llama_cpp_offers_and_keeps_to_the_budget(
    choice: MixChoice, lab: dict[str, object]
) -> None:
    fitting = {one.name: one.mean_kl_nats for one in choice.measured if one.size_bytes <= BUDGET}
    assert choice.mean_kl_nats == min(fitting.values())
    assert {"llama.cpp Q2_K", "uniform Q3_K"} <= fitting.keys()
    assert choice.mean_kl_nats < 0.75 * min(nats for name, nats in fitting.items() if not name.startswith("mix"))
    assert choice.origin == "mix"
    assert choice.size_bytes <= BUDGET
    assert choice.threads == lab["threads"], "its file is made with as many"


def test_what_was_promised_is_what_comes_out(
    choice: MixChoice, reference_gguf: Path, tmp_path: Path, lab: dict[str, object]
) -> None:
    """The file, made once more from the record alone: its bytes, its types, its divergence."""
    out, wanted = tmp_path / "mix.gguf", tensor_types_of(choice.groups, choice.types)
    quantize_file(reference_gguf, out, ftype=7, threads=1, tensor_types=wanted)
    made = read_gguf_header(out).tensors
    assert {name: made[name].kind for name in wanted} == wanted
    assert sum(padded(tensor.size_bytes) for name, tensor in made.items() if name in wanted) == sum(
        option.stored_bytes
        for group in choice.groups
        for option in group.types
        if option.kind == choice.types[group.group]
    )
    assert out.stat().st_size <= choice.size_bytes < out.stat().st_size + 512
    text = Path(str(lab["text"])).read_text(encoding="utf-8")
    context = fitting_context(reference_gguf, text, 128, 1)
    again = measure_divergence(reference_gguf, out, [text], context_tokens=context, threads=1)
    assert again.mean_kl_nats == pytest.approx(choice.mean_kl_nats, rel=1e-6)


def test_another_budget_is_solved_at_once_and_measures_nothing(choice: MixChoice) -> None:
    started = time.perf_counter()
    smaller, same = solve_again(choice, int(0.95 * BUDGET)), solve_again(choice, BUDGET)
    assert time.perf_counter() - started < 2.0
    assert smaller.size_bytes <= 0.95 * BUDGET
    assert smaller.measured == choice.measured
    assert smaller.predicted_nats > choice.predicted_nats * 0.9
    assert same.predicted_nats <= choice.mean_kl_nats * 1.5  # type: ignore[operator]


def test_after_a_kill_nothing_is_measured_twice(choice: MixChoice, lab: dict[str, object]) -> None:
    journal = Path(str(lab["workdir"])) / "mixes.jsonl"
    before = journal.read_bytes()
    again = choose(budget_bytes=BUDGET, **lab)  # type: ignore[arg-type]
    assert journal.read_bytes() == before
    kept = {"seconds", "peak_resident_bytes"}
    assert again.model_dump(exclude=kept) == choice.model_dump(exclude=kept)


def test_a_budget_that_is_too_small_or_needs_no_mix_says_so(
    lab: dict[str, object], reference_gguf: Path, choice: MixChoice
) -> None:
    with pytest.raises(InputError, match=r"at least [\d,]+ bytes \(1\.\d+ MiB\)|at least [\d,]+ bytes \(0\.\d+ MiB\)"):
        choose(budget_bytes=400_000, **lab)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least"):
        solve_again(choice, 400_000)
    with pytest.raises(InputError, match="full precision fits"):
        choose(budget_bytes=reference_gguf.stat().st_size, **lab)  # type: ignore[arg-type]


def test_the_record_survives_json(choice: MixChoice, lab: dict[str, object]) -> None:
    assert MixChoice.model_validate(json.loads(json.dumps(choice.body()))) == choice
    assert isinstance(lab["mixes"], GgufMixes)
    assert choice.sensitivity == lab["mixes"].sensitivity.digest()
