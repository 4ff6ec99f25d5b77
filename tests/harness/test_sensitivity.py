"""The scan on the real pilot model: against llama.cpp's own files, and against itself when split, killed or restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from quantplay.engines.llama_quantize import quantize_file
from quantplay.engines.transformers_model import load_tokenizer
from quantplay.errors import InputError
from quantplay.evalset import read_texts
from quantplay.formats import TYPES
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.assemble import assemble
from quantplay.mixed.ggml_served import GgmlServed
from quantplay.mixed.groups import group_bytes
from quantplay.mixed.interpolate import rank_agreement
from quantplay.mixed.proxy import proxies
from quantplay.mixed.rows import held_out_rows, matrix_samples
from quantplay.mixed.sensitivity import ScanSettings, measure_sensitivity, scan
from quantplay.mixed.simulate import Simulator
from quantplay.quantizers.gguf import read_tensors
from quantplay.quantizers.importance import ImportanceMatrix, measure_importance

TOKENS = 64
TYPES_ASKED = ("Q6_K", "Q4_K", "Q2_K")


@pytest.fixture(scope="module")
def texts(pilot: Path) -> list[str]:
    return [sample.text for sample in read_texts(pilot / "calibration" / "traffic.jsonl")]


@pytest.fixture(scope="module")
def importance(pilot_model: Path, texts: list[str]) -> ImportanceMatrix:
    return measure_importance(pilot_model, texts[:16], tokens=128, threads=1)


@pytest.fixture(scope="module")
def rows(pilot_model: Path, texts: list[str]) -> np.ndarray:
    return held_out_rows(pilot_model, texts[matrix_samples(len(texts), len(texts)) :], sequences=8, tokens=TOKENS)


@pytest.fixture
def simulator(pilot_model: Path, reference_gguf: Path, importance: ImportanceMatrix, rows: np.ndarray) -> Simulator:
    return Simulator(pilot_model, GgmlServed(reference_gguf, importance), rows, threads=1)


def test_a_whole_type_does_the_damage_of_llama_cpps_real_file(
    pilot_model: Path, reference_gguf: Path, importance: ImportanceMatrix, texts: list[str], tmp_path: Path
) -> None:
    """Every group as Q3_K, in torch and as a file that llama.cpp runs: same text, same positions. llama.cpp also rounds the
    inputs of its matrix products to 8 bits, which torch does not."""
    context = 256
    tokenizer = load_tokenizer(pilot_model)
    ids = tokenizer("\n".join(texts[220:]))["input_ids"]
    rows = np.array(ids[: len(ids) // context * context]).reshape(-1, context)
    rows[:, 0] = tokenizer.bos_token_id
    simulator = Simulator(pilot_model, GgmlServed(reference_gguf, importance), rows, threads=1)
    types = {tensor: "Q3_K" for group in simulator.groups.values() for tensor in group.tensors}
    file = tmp_path / "q3.gguf"
    ftype = TYPES["Q3_K_M"].ftype
    assert ftype is not None
    quantize_file(reference_gguf, file, ftype=ftype, threads=1, importance=importance.values, tensor_types=types)
    stored = read_tensors(file)
    assert {stored[name].kind for name in types} == {"Q3_K"}
    for group in simulator.groups.values():
        assert group_bytes(group, "Q3_K", simulator.served.shapes) == sum(
            stored[name].size_bytes for name in group.tensors
        )
    real = measure_divergence(reference_gguf, file, texts[220:], context_tokens=context, threads=1, cache_type="f32")
    assert real.tokens == len(rows) * len(simulator.positions)
    simulated = simulator.damage(dict.fromkeys(simulator.groups, "Q3_K"))
    assert simulated.mean_nats == pytest.approx(real.mean_kl_nats, rel=0.05)


def test_a_restart_is_a_full_forward(simulator: Simulator) -> None:
    """Blocks rewritten in the model itself, and the model run as a whole from its first token."""
    import torch

    assignment = {"blk.1.qkv": "Q2_K", "blk.3.down": "Q4_K", "embedding": "Q6_K"}
    before = simulator.block_forward_tokens
    restarted = simulator.damages([{"blk.1.qkv": "Q2_K", "blk.3.down": "Q4_K"}, {"blk.3.down": "Q4_K"}])
    per_block = simulator.rows.size
    assert simulator.block_forward_tokens - before == (3 + 1) * per_block
    found = [*restarted, simulator.damage(assignment)]
    for damage, wanted in zip(
        found, [{"blk.1.qkv": "Q2_K", "blk.3.down": "Q4_K"}, {"blk.3.down": "Q4_K"}, assignment], strict=True
    ):
        with torch.no_grad():
            tokens = torch.from_numpy(simulator.rows)
            simulator.restore()
            full = simulator.model(input_ids=tokens, use_cache=False).logits[:, simulator.positions].double()
            simulator.put_all(wanted)
            changed = simulator.model(input_ids=tokens, use_cache=False).logits[:, simulator.positions].double()
            simulator.restore()
        p, q = full.log_softmax(-1), changed.log_softmax(-1)
        expected = (p.exp() * (p - q)).sum(-1).mean(-1)
        assert damage.values == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-7)
    assert simulator.damage({}).mean_nats == 0


def test_split_is_whole_and_a_journal_measures_nothing_again(
    simulator: Simulator,
    pilot_model: Path,
    reference_gguf: Path,
    importance: ImportanceMatrix,
    rows: np.ndarray,
    tmp_path: Path,
) -> None:
    settings = ScanSettings(types=TYPES_ASKED)
    journal = tmp_path / "scan.jsonl"
    whole = measure_sensitivity(simulator, settings, journal=journal)
    parts = [
        scan(
            Simulator(pilot_model, GgmlServed(reference_gguf, importance), rows, threads=1), settings, part=(number, 2)
        )
        for number in range(2)
    ]
    split = assemble(parts)
    assert split.groups == whole.groups
    assert split.checks == whole.checks
    again = Simulator(pilot_model, GgmlServed(reference_gguf, importance), rows, threads=1)
    before = again.block_forward_tokens
    assert measure_sensitivity(again, settings, journal=journal).groups == whole.groups
    assert again.block_forward_tokens == before
    assert [group.group for group in whole.groups] == list(simulator.groups)
    for group in whole.groups:
        assert group.of("Q6_K").mean_kl_nats < group.of("Q4_K").mean_kl_nats < group.of("Q2_K").mean_kl_nats
        assert group.of("Q6_K").stored_bytes > group.of("Q4_K").stored_bytes > group.of("Q2_K").stored_bytes
    # another scan of the same model takes nothing from this journal
    other = ScanSettings(types=("Q5_K", "Q2_K"))
    scan(again, other, journal=journal, part=(0, 17))
    assert again.block_forward_tokens > before


def test_killed_and_resumed_is_whole(pilot: Path, pilot_model: Path, reference_gguf: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a job; the next one goes on from the journal and gives the same figures to the last bit."""

    def command(journal: str) -> list[str]:
        payload = {
            "model": str(pilot_model), "reference": str(reference_gguf), "threads": 1, "samples": 16, "sample_tokens": 64,
            "calibration": str(pilot / "calibration" / "traffic.jsonl"), "importance": True, "types": list(TYPES_ASKED),
            "sequences": 4, "tokens": TOKENS, "journal": str(tmp_path / journal),
        }  # fmt: skip
        code = (
            "import json\nfrom quantplay.mixed.assemble import assemble\nfrom quantplay.mixed.sensitivity import scan_job\n"
            f"found = scan_job({payload!r}, lambda *_: None)\n"
            "print(json.dumps(assemble([found]).body()['groups']))"
        )
        return [sys.executable, "-c", code]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL)
    journal, deadline = tmp_path / "killed", time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b'"unit"') >= 5):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = journal.read_bytes().count(b'"unit"')
    assert done < 18  # 17 groups and the all-low model
    resumed = subprocess.run(command("killed"), env=environment, capture_output=True, check=True).stdout
    assert journal.read_bytes().count(b'"unit"') == 18
    assert resumed == subprocess.run(command("whole"), env=environment, capture_output=True, check=True).stdout


def test_the_proxy_is_the_slope_of_the_damage_at_the_all_low_model(simulator: Simulator) -> None:
    """Along the way from the low weights to full precision, by finite differences over the whole model."""
    import torch

    base = dict.fromkeys(simulator.groups, "Q2_K")
    gains = proxies(simulator, base, slice(0, 2))["gains"]
    weights = simulator.weights
    with torch.no_grad():
        tokens = torch.from_numpy(simulator.rows[:2])
        full = simulator.model(input_ids=tokens).logits[:, simulator.positions].double().log_softmax(-1)

        def damage(step: float) -> float:
            for name, parameter in weights.parameters.items():
                if name in weights.tensors_in:
                    low = parameter.data
                    parameter.data = low + step * (weights.full[name] - low)
            changed = simulator.model(input_ids=tokens).logits[:, simulator.positions].double().log_softmax(-1)
            return float((full.exp() * (full - changed)).sum(-1).mean())

        simulator.put_all(base)
        start = damage(0.0)
        moved = damage(1e-3)
        simulator.weights.standing.clear()
        simulator.put_all({})
    for name, parameter in weights.parameters.items():
        parameter.data = weights.full[name]
    assert sum(gains.values()) == pytest.approx((start - moved) / 1e-3, rel=0.02)


def test_a_large_model_measures_the_first_fifth_and_an_audit(simulator: Simulator) -> None:
    settings = ScanSettings(types=TYPES_ASKED, most_work=0)
    found = measure_sensitivity(simulator, settings)
    assert found.proxy_agreement is not None
    assert found.exact_groups == len(found.groups) or found.proxy_agreement >= 0.9


def test_scores_are_the_damages_where_these_are_small(simulator: Simulator) -> None:
    """Close to full precision the squared score of a group estimates what a forward pass with that group changed measures."""
    scores = proxies(simulator, dict.fromkeys(simulator.groups, "Q6_K"), slice(None))["scores"]
    measured = [simulator.damage({name: "Q6_K"}).mean_nats for name in simulator.groups]
    ratios = [scores[name] / true for name, true in zip(simulator.groups, measured, strict=True)]
    assert 0.7 < np.median(ratios) < 1.4  # 64 draws a group: a fifth of standard error each
    assert rank_agreement(list(scores.values()), measured) > 0.85


def test_faults_are_named(
    simulator: Simulator, pilot_model: Path, reference_gguf: Path, rows: np.ndarray, texts: list[str]
) -> None:
    with pytest.raises(InputError, match="no ggml type"):
        scan(simulator, ScanSettings(types=("Q4_K", "Q9_X")))
    with pytest.raises(InputError, match=r"blk\.9\.qkv"):
        simulator.damage({"blk.9.qkv": "Q4_K"})
    with pytest.raises(InputError, match="part of a scan"):
        scan(simulator, ScanSettings(types=TYPES_ASKED), part=(2, 2))
    with pytest.raises(InputError, match="held out"):
        held_out_rows(pilot_model, texts[:1], sequences=8, tokens=4096)
    with pytest.raises(InputError, match="too few held-out sequences"):
        Simulator(pilot_model, GgmlServed(reference_gguf, None), rows[:1], threads=1)
    without = Simulator(pilot_model, GgmlServed(reference_gguf, None), rows, threads=1)
    with pytest.raises(InputError, match="can't be stored as any"):
        scan(without, ScanSettings(types=("IQ2_XS",)))
    weights = without.weights
    weights.full["model.layers.0.mlp.down_proj.weight"][0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        type(weights)(without.model, without.served, 1)
