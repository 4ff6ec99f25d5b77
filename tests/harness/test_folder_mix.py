"""Mixes of a format that is a folder, on the pilot: the real scan, llm-compressor, and plain transformers."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_folder_formats import make, recipe

from quantplay.engines.model_file import write_model_file
from quantplay.errors import InputError
from quantplay.evalset import model_files, read_items
from quantplay.formats import TYPES
from quantplay.mixed.allocate import allocate, bytes_of, cost_of
from quantplay.mixed.damage import costs
from quantplay.mixed.folder_mixes import FolderMixes, mix_recipe
from quantplay.mixed.folder_served import FolderServed, place
from quantplay.mixed.rows import held_out_rows
from quantplay.mixed.sensitivity import ScanSettings, measure_sensitivity, scan
from quantplay.mixed.simulate import Simulator
from quantplay.plays.mixed_precision import choose, dev_text, solve_again
from quantplay.quantizers.folder_check import folder_faults
from quantplay.quantizers.integer_groups import rounded
from quantplay.quantizers.layer_types import quantized_layers
from quantplay.records import Artifact, MixChoice, Recipe, Sensitivity

TYPES_ASKED = ("full", "W8A16", "W4A16")
GROWTH = 1.2  # of the file that came short


@pytest.fixture(scope="module")
def jobs() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folder-mix")


@pytest.fixture(scope="module")
def reference(pilot_model: Path, folder: Path) -> Path:
    file = folder / "reference.tar"
    write_model_file(pilot_model, file, model_files(pilot_model))
    return file


@pytest.fixture(scope="module")
def short(pilot: Path, pilot_model: Path, folder: Path, jobs: None) -> dict[str, Artifact]:
    kinds = ("W4A16", "W4A16_AWQ")
    made = make(folder, pilot_model, pilot, {kind: recipe(kind, calibration_samples=16) for kind in kinds})
    return {kind: Artifact.model_validate(made[kind]) for kind in kinds}


@pytest.fixture(scope="module")
def simulator(pilot: Path, pilot_model: Path, reference: Path, short: dict[str, Artifact]) -> Simulator:
    texts = [item.prompt for item in read_items(pilot / "evaluation" / "dev.jsonl")]
    rows = held_out_rows(pilot_model, texts, sequences=4, tokens=128)
    layers = tuple(quantized_layers("compressed-tensors", short["W4A16"].tensors))
    return Simulator(pilot_model, FolderServed(pilot_model, reference, layers), rows, threads=1)


@pytest.fixture(scope="module")
def sensitivity(simulator: Simulator) -> Sensitivity:
    return measure_sensitivity(simulator, ScanSettings(types=TYPES_ASKED))


def mixes_after(
    kind: str, sensitivity: Sensitivity, short: dict[str, Artifact], folder: Path, pilot: Path, reference: Path
) -> FolderMixes:
    return FolderMixes(
        sensitivity, reference, model=pilot / "model", calibration=pilot / "calibration" / "traffic.jsonl", short=short[kind],
        short_file=folder / f"{kind}.tar", made_by=recipe(kind, calibration_samples=16),
    )  # fmt: skip


@pytest.fixture(scope="module")
def lab(
    pilot: Path, folder: Path, reference: Path, short: dict[str, Artifact], sensitivity: Sensitivity
) -> dict[str, Any]:
    """What `choose` is given."""
    lines = (pilot / "evaluation" / "dev.jsonl").read_text(encoding="utf-8").splitlines()[::20]
    dev = folder / "dev.jsonl"
    dev.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "mixes": mixes_after("W4A16", sensitivity, short, folder, pilot, reference), "text": dev_text(dev, folder),
        "context_tokens": 128, "short": short["W4A16"].sha256, "short_type": "W4A16", "workdir": folder, "threads": 1,
        "budget_bytes": round(GROWTH * short["W4A16"].size_bytes),
    }  # fmt: skip


@pytest.fixture(scope="module")
def choice(lab: dict[str, Any]) -> MixChoice:
    return choose(**lab)


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_is_the_library_s_own(bits: int) -> None:
    import torch
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    weights = np.random.default_rng(bits).normal(size=(6, 512)).astype(np.float32)
    weights[1, :128] = 0
    weights[2, 7] = 40
    settings = QuantizationArgs(num_bits=bits, symmetric=True, strategy="group", group_size=128)
    cut = torch.from_numpy(weights).reshape(6, 4, 128)
    scales, zeros = calculate_qparams(cut.amin(2), cut.amax(2), settings)
    theirs = fake_quantize(torch.from_numpy(weights), scales, zeros, settings).numpy()
    np.testing.assert_array_equal(rounded(weights, bits=bits, group=128), theirs)


@pytest.mark.slow
def test_what_servers_fuse_is_one_group_and_damage_falls_with_bits(sensitivity: Sensitivity) -> None:
    groups = {group.group: group for group in sensitivity.groups}
    assert len(groups) == 16
    block = "model.layers.2."
    assert set(groups["blk.2.qkv"].tensors) == {f"{block}self_attn.{name}_proj" for name in "qkv"}
    assert set(groups["blk.2.gate_up"].tensors) == {f"{block}mlp.gate_proj", f"{block}mlp.up_proj"}
    for group in groups.values():
        assert [one.kind for one in group.types] == list(TYPES_ASKED)
        full, eight, four = group.types
        assert (full.stored_bytes, full.mean_kl_nats) == (group.full_bytes, 0.0)
        assert eight.mean_kl_nats < four.mean_kl_nats
        assert four.stored_bytes < eight.stored_bytes < full.stored_bytes


def test_a_block_s_experts_are_one_group_and_shared_ones_another() -> None:
    places = {name: place(f"model.layers.1.mlp.{name}")[2] for name in (
        "experts.0.gate_proj", "experts.7.down_proj", "shared_expert.up_proj", "shared_experts.down_proj",
    )}  # fmt: skip
    assert list(places.values()) == ["blk.1.experts", "blk.1.experts", "blk.1.shared_gate_up", "blk.1.shared_down"]


@pytest.mark.slow
def test_the_choice_beats_one_type_for_all_and_keeps_to_the_budget(choice: MixChoice, lab: dict[str, Any]) -> None:
    fitting = {one.name: one.mean_kl_nats for one in choice.measured if one.size_bytes <= lab["budget_bytes"]}
    assert choice.mean_kl_nats == min(fitting.values())
    assert choice.mean_kl_nats < 0.7 * fitting["uniform W4A16"]
    assert (choice.origin, choice.type) == ("mix", "W4A16")
    assert {"W4A16", "W8A16"} <= set(choice.types.values())
    assert choice.size_bytes <= lab["budget_bytes"]
    whole = next(one for one in choice.measured if one.name == "uniform W4A16")
    assert whole.size_bytes == lab["mixes"].short.size_bytes, "measured as it is"


@pytest.mark.slow
def test_bytes_are_those_of_the_file(
    choice: MixChoice, lab: dict[str, Any], pilot: Path, pilot_model: Path, tmp_path: Path, jobs: None
) -> None:
    """The file, made once more from the record: its layers, its types; what is predicted is from above, and only by the room that
    names, digits and the archive's blocks may take."""
    mixes: FolderMixes = lab["mixes"]
    wanted: Recipe = mix_recipe(mixes.made_by, choice.groups, choice.types)
    made = make(tmp_path, pilot_model, pilot, {"mix": wanted})
    artifact = Artifact.model_validate(made["mix"])
    assert artifact.size_bytes == choice.size_bytes
    assert list(folder_faults(wanted, artifact, tmp_path / "mix.tar")) == []
    predicted = choice.other_bytes + bytes_of(costs(choice.groups, choice.fit), choice.types)
    assert artifact.size_bytes <= predicted <= artifact.size_bytes + 12_000


@pytest.mark.slow
def test_after_another_method_the_bytes_are_known_as_well(
    sensitivity: Sensitivity, short: dict[str, Artifact], folder: Path, pilot: Path, reference: Path
) -> None:
    after = mixes_after("W4A16_AWQ", sensitivity, short, folder, pilot, reference)
    uniform = {group.group: "W4A16" for group in after.groups}
    predicted = after.beside + sum(
        one.stored_bytes for group in after.groups for one in group.types if one.kind == "W4A16"
    )
    assert short["W4A16"].size_bytes <= predicted <= short["W4A16"].size_bytes + 12_000
    (rival,) = after.rivals(0, 3, "W4A16_AWQ")
    assert (rival.name, rival.mix) == ("uniform W4A16_AWQ", {})
    assert after.candidate("all", "uniform", uniform).made["recipe"]["method"] == "llm-compressor-gptq"


@pytest.mark.slow
def test_the_allocation_is_the_best_of_all_there_are(choice: MixChoice) -> None:
    groups = choice.groups[:8]
    options = costs(groups, choice.fit)
    every = [dict(zip(options, kinds, strict=True)) for kinds in product(TYPES_ASKED, repeat=len(groups))]
    smallest = bytes_of(options, dict.fromkeys(options, "W4A16"))
    for growth in (1.05, 1.3, 2.5):
        fitting = [mix for mix in every if bytes_of(options, mix) <= growth * smallest]
        best = min(cost_of(options, mix) for mix in fitting)
        assert cost_of(options, allocate(options, int(growth * smallest))) == pytest.approx(best, rel=1e-5)


@pytest.mark.slow
def test_nothing_is_measured_twice_and_the_record_is_json(choice: MixChoice, lab: dict[str, Any]) -> None:
    journal = lab["workdir"] / "mixes.jsonl"
    before = journal.read_bytes()
    again = choose(**lab)
    assert journal.read_bytes() == before
    kept = {"seconds", "peak_resident_bytes"}
    assert again.model_dump(exclude=kept) == choice.model_dump(exclude=kept)
    assert MixChoice.model_validate(json.loads(json.dumps(choice.body()))) == choice
    smaller = solve_again(choice, round(0.95 * lab["budget_bytes"]))
    assert smaller.size_bytes <= 0.95 * lab["budget_bytes"]
    assert TYPES[smaller.type].format == "compressed-tensors"


@pytest.mark.slow
def test_faults_are_named(simulator: Simulator, pilot_model: Path, reference: Path) -> None:
    with pytest.raises(InputError, match="no type that layers of a mix can have"):
        scan(simulator, ScanSettings(types=("W8A8", "W4A16")))
    with pytest.raises(InputError, match="other names"):
        FolderServed(pilot_model, reference, ("model.layers.9.mlp.up_proj",))
