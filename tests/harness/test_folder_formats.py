"""The formats that are folders, made by the real libraries from the pilot with a few calibration texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantize_models import save_random_llama
from safetensors.numpy import load_file, save_file

from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.model_file import model_folder
from quantplay.envelope.packed import linear_bytes
from quantplay.envelope.shape import read_header, read_shape
from quantplay.errors import InputError, MissingDependency, OutOfSpace
from quantplay.formats import TYPES
from quantplay.quantizers import fitting, folder_recipe, method
from quantplay.quantizers.folder_check import folder_faults
from quantplay.quantizers.layer_types import exactly, types_of_layers, with_types
from quantplay.records import Artifact, Recipe

NOTHING = digest_of([])
KINDS = [name for name, kind in TYPES.items() if kind.format in ("compressed-tensors", "bitsandbytes")]


def recipe(kind: str, **changed: Any) -> Recipe:
    serving = TYPES[kind]
    made: dict[str, Any] = {
        "format": serving.format, "type": kind, "method": method(serving.format).METHODS[kind],
        "bits_per_weight": serving.bits_per_weight, "bits_activations": 16, "group_size": serving.group_size,
        "importance_matrix": False, "tensor_types": {}, "higher_precision": folder_recipe.HIGHER_PRECISION, "model": NOTHING,
        "calibration": NOTHING, "calibration_samples": 4, "calibration_tokens": 64, "seed": 0, "threads": 1, "versions": {},
        "converter": NOTHING,
    }  # fmt: skip
    return Recipe(**(made | changed))


def make(folder: Path, model: Path, pilot: Path, recipes: dict[str, Recipe]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    payload = {
        "recipes": {name: one.body() for name, one in recipes.items()}, "model": str(model), "folder": str(folder),
        "calibration": str(pilot / "calibration" / "traffic.jsonl"),
    }  # fmt: skip
    return process.run("folder_jobs:make_all", payload, threads=1).value


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One block of random weights with the pilot's tokenizer."""
    return save_random_llama(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="module")
def made(small: Path, pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """Every type twice: NAME and NAME-again."""
    folder = tmp_path_factory.mktemp("folders")
    bodies = make(folder, small, pilot, {f"{kind}{end}": recipe(kind) for kind in KINDS for end in ("", "-again")})
    assert not [body for body in bodies.values() if "error" in body], bodies
    return folder, {name: Artifact.model_validate(body) for name, body in bodies.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_artifact_is_what_its_record_says_and_comes_out_the_same_again(
    kind: str, made: tuple[Path, dict[str, Artifact]], small: Path
) -> None:
    folder, artifacts = made
    artifact = artifacts[kind]
    assert digest_of_file(folder / f"{kind}.tar") == artifact.sha256 == artifacts[f"{kind}-again"].sha256
    assert artifact.recipe == recipe(kind).digest()
    layers = [name for name, stored in artifact.tensors.items() if stored == kind]
    assert len(layers) == 7
    assert all(name.endswith("_proj.weight") for name in layers)
    assert {stored for stored in artifact.tensors.values() if stored != kind} == {"F32"}
    with model_folder(folder / f"{kind}.tar") as opened:
        config = json.loads((opened / "config.json").read_text())
        assert (opened / "tokenizer.json").read_bytes() == (small / "tokenizer.json").read_bytes()
        assert json.loads((opened / "quantplay.json").read_text())["recipe"] == artifact.recipe
    method_part = config.pop("quantization_config")
    assert config == json.loads((small / "config.json").read_text())
    assert method_part["quant_method"] == TYPES[kind].format


@pytest.mark.slow
def test_plain_transformers_gives_the_logits_of_the_rounded_weights(
    made: tuple[Path, dict[str, Artifact]], small: Path, tmp_path: Path
) -> None:
    """W4A16 against weights unpacked here from the file: q = 4-bit integers, eight an int32, low bits first, minus 8; w = s q."""
    folder, _ = made
    by_hand = tmp_path / "by-hand"
    shutil.copytree(small, by_hand)
    with model_folder(folder / "W4A16.tar") as opened:
        packed = load_file(opened / "model.safetensors")
    weights = load_file(small / "model.safetensors")
    for name in [name for name in weights if f"{name}_packed" in packed]:
        rows, columns = weights[name].shape
        words = packed[f"{name}_packed"].view(np.uint32)
        whole = (words[:, :, None] >> (4 * np.arange(8, dtype=np.uint32))) & 15
        integers = whole.reshape(rows, -1)[:, :columns].astype(np.float32) - 8
        weights[name] = integers * np.repeat(packed[f"{name}_scale"], 128, axis=1)[:, :columns]
    save_file(weights, by_hand / "model.safetensors", metadata={"format": "pt"})
    models = {"W4A16": str(folder / "W4A16.tar"), **{kind: str(folder / f"{kind}.tar") for kind in KINDS}}
    expected = dict.fromkeys(models, str(small)) | {"W4A16": str(by_hand)}
    payload = {"models": models, "expected": expected, "tokens": list(range(5, 45))}
    found = process.run("folder_jobs:compare_logits", payload, threads=1).value
    gap, size = found.pop("W4A16")
    assert gap < 1e-4 * size
    for kind, (gap, size) in found.items():  # the others near full precision
        assert 0 < gap < 0.3 * size, kind


@pytest.mark.slow
def test_what_can_not_be_made_is_refused_by_name_and_nothing_is_left(pilot: Path, tmp_path: Path) -> None:
    uneven = save_random_llama(tmp_path / "uneven", hidden=96, intermediate=160)
    answer = make(tmp_path / "out", uneven, pilot, {"W4A16": recipe("W4A16")})["W4A16"]
    assert "rows can't be cut into groups" in answer["error"]
    assert "choose W8A8" in answer["error"]
    assert answer["left"] == []
    broken = save_random_llama(tmp_path / "broken", damage="model.layers.0.mlp.up_proj.weight")
    answer = make(tmp_path / "out", broken, pilot, {"BNB_INT8": recipe("BNB_INT8")})["BNB_INT8"]
    assert "model.layers.0.mlp.up_proj.weight" in answer["error"]


def test_too_little_memory_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(4096, 4096), (11008, 4096), (4096, 11008)]
    needed = fitting.needed_bytes(recipe("W4A16"), shapes, 4 * 10**9)
    assert needed > fitting.needed_bytes(recipe("W4A16", calibration_samples=0), shapes, 4 * 10**9) > 4 * 10**9
    monkeypatch.setattr(fitting, "free_bytes", lambda: needed)
    fitting.require_memory(recipe("W4A16"), shapes, 4 * 10**9)
    monkeypatch.setattr(fitting, "free_bytes", lambda: needed - 1)
    with pytest.raises(InputError, match="too little memory to make W4A16"):
        fitting.require_memory(recipe("W4A16"), shapes, 4 * 10**9)


def test_a_missing_extra_is_one_line_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_recipe, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency) as refused:
        method("compressed-tensors").build_recipe(None, "W4A16", None, threads=1)
    assert "pip install 'quantplay[compressed-tensors]'" in str(refused.value)
    assert "\n" not in refused.value.what


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_embd": 128, "n_layer": 1, "n_head": 2, "vocab_size": 64, "n_positions": 32},
        {
            "model_type": "mixtral", "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1, "vocab_size": 64,
            "num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4,
        },
    ],
    ids=lambda config: config["model_type"],
)  # fmt: skip
def test_an_architecture_without_linear_layers_is_refused_by_name(config: dict[str, Any]) -> None:
    """GPT-2's Conv1D and fused experts would be left as they are without a word."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from quantplay.quantizers.folder import targets

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    with pytest.raises(InputError, match="can't reach most of this architecture") as refused:
        targets(model, recipe("W4A16"))
    assert config["model_type"] in str(refused.value)
    assert "choose a GGUF type" in str(refused.value)


def test_a_full_disk_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, small: Path, pilot: Path, tmp_path: Path
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr("quantplay.engines.whole_file.shutil.disk_usage", lambda path: full)
    job = {"recipe": recipe("FP8_DYNAMIC").body(), "model": str(small), "out": str(tmp_path / "out.tar")}
    with pytest.raises(OutOfSpace, match="the disk is too full"):
        method("compressed-tensors").quantize_job(job | {"calibration": str(pilot)}, lambda *_: None)
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.slow
def test_smoothing_does_not_change_a_block_with_four_norms(pilot: Path, pilot_model: Path, tmp_path: Path) -> None:
    """llm-compressor's own table scales a norm that Gemma adds to the residual; the logits would be off by as much as they are large."""
    payload = {
        "recipe": recipe("W8A8").body(), "tokenizer": str(pilot_model), "folder": str(tmp_path),
        "calibration": str(pilot / "calibration" / "traffic.jsonl"),
    }  # fmt: skip
    gap, size = process.run("folder_jobs:gemma_gap", payload, threads=1).value
    assert gap < 0.15 * size


LAYER = "model.layers.0."
MIX = {
    "self_attn.q_proj": "W8A16", "self_attn.k_proj": "W8A16", "self_attn.v_proj": "W8A16", "self_attn.o_proj": "W4A16",
    "mlp.gate_proj": "W4A16", "mlp.up_proj": "W4A16", "mlp.down_proj": "full",
}  # fmt: skip


def mixed(**changed: str) -> Recipe:
    """A mix of the small model's block; `changed`: other types, and None leaves a layer out."""
    types = {f"{LAYER}{name}": kind for name, kind in (MIX | changed).items() if kind}
    return with_types(recipe("W4A16"), {exactly(name): kind for name, kind in types.items()})


@pytest.mark.slow
def test_a_mix_is_stored_layer_by_layer_as_its_recipe_says(
    made: tuple[Path, dict[str, Artifact]], small: Path, pilot: Path, tmp_path: Path
) -> None:
    bodies = make(tmp_path, small, pilot, {"mix": mixed(), "again": mixed()})
    artifact, again = (Artifact.model_validate(bodies[name]) for name in ("mix", "again"))
    file = tmp_path / "mix.tar"
    assert artifact.sha256 == again.sha256
    kept = {f"{LAYER}{name}.weight": "F32" if kind == "full" else kind for name, kind in MIX.items()}
    assert {name: kind for name, kind in artifact.tensors.items() if name in kept} == kept
    assert list(folder_faults(mixed(), artifact, file)) == []
    with model_folder(file) as opened:
        saved = read_header(opened / "model.safetensors")
        config = json.loads((opened / "config.json").read_text())["quantization_config"]
    source = read_shape(small)
    for name, kind in MIX.items():  # every layer takes the bytes that its type takes
        parts = [entry for part, entry in saved.items() if part.startswith(f"{LAYER}{name}.")]
        rows, columns = load_file(small / "model.safetensors")[f"{LAYER}{name}.weight"].shape
        full = 4 * rows * columns
        expected = full if kind == "full" else linear_bytes((columns, rows), kind, TYPES[kind], source.source_width)
        assert sum(end - begin for begin, end in (entry["data_offsets"] for entry in parts)) == expected
    by_bits = {scheme["weights"]["num_bits"]: set(scheme["targets"]) for scheme in config["config_groups"].values()}
    assert by_bits == {
        bits: {f"{LAYER}{name}" for name, kind in MIX.items() if kind == f"W{bits}A16"} for bits in (4, 8)
    }
    assert f"{LAYER}mlp.down_proj" in config["ignore"]

    def gap(name: str) -> float:
        payload = {"models": {name: name}, "expected": {name: str(small)}, "tokens": list(range(5, 45))}
        return process.run("folder_jobs:compare_logits", payload, threads=1).value[name][0]

    assert 0 < gap(str(file)) < gap(str(made[0] / "W4A16.tar"))  # loaded in plain transformers

    # one bit width for another, in the record and in the recipe
    swapped = artifact.tensors | {f"{LAYER}mlp.up_proj.weight": "W8A16"}
    told = list(folder_faults(mixed(), artifact.model_copy(update={"tensors": swapped}), file))
    assert any(f"{LAYER}mlp.up_proj" in fault.where and "W8A16" in fault.what for fault in told)
    assert any("another type than the recipe names" in fault.what for fault in told)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mlp.up_proj": ""}, "is given no type"), ({"mlp.up_proj": "W8A8"}, "no layer of a mix can be this"),
        ({"mlp.sideways": "W8A16"}, "matches no linear layer"),
    ],
)  # fmt: skip
def test_a_mix_that_does_not_fit_the_model_is_refused_by_layer(changed: dict[str, str], said: str) -> None:
    layers = [f"{LAYER}{name}" for name in MIX]
    assert types_of_layers(mixed(), layers) == {f"{LAYER}{name}": kind for name, kind in MIX.items()}
    with pytest.raises(InputError, match=said):
        types_of_layers(mixed(**changed), layers)
