"""Training towards compressed-tensors: what is served is what was simulated, and what llm-compressor itself would round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantize_models import save_random_llama
from safetensors.numpy import load_file
from test_folder_formats import recipe

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.model_file import model_folder
from quantplay.quantizers.layer_types import FULL, exactly
from quantplay.quantizers.rounding import METHOD
from quantplay.records import Artifact, Recipe, Training, TrainingSettings

pytestmark = pytest.mark.slow
SETTINGS = TrainingSettings(
    steps=3, learning_rate=5e-5, rows=2, row_tokens=128, checkpoint_every=3, precision="float32", device="cpu"
)


@pytest.fixture(scope="module", autouse=True)
def jobs() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


def narrowed(model: Path) -> Path:
    """The same model stored as bfloat16."""
    import torch
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    file = model / "model.safetensors"
    save({name: one.to(torch.bfloat16) for name, one in load(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text()) | {"dtype": "bfloat16"}
    (model / "config.json").write_text(json.dumps(config))
    return model


def mix() -> dict[str, str]:
    """Of the one block: one layer in 8 bits, one left as it is."""
    layers = [f"self_attn.{one}_proj" for one in "qkvo"] + [f"mlp.{one}_proj" for one in ("gate", "up", "down")]
    kinds = {"self_attn.v_proj": "W8A16", "mlp.down_proj": FULL}
    return {exactly(f"model.layers.0.{layer}"): kinds.get(layer, "W4A16") for layer in layers}


@pytest.fixture(scope="module", params=["F32", "BF16", "mix"])
def made(request: pytest.FixtureRequest, pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("qat-folders")
    model = save_random_llama(folder / "model")
    width = "F32" if request.param == "F32" else "BF16"
    if width == "BF16":
        narrowed(model)
    asked = recipe("W4A16", tensor_types=mix() if request.param == "mix" else {})
    dev = folder / "dev.jsonl"
    dev.write_text("\n".join((pilot / "evaluation" / "dev.jsonl").read_text().splitlines()[::40]) + "\n")
    payload = {
        "recipe": asked.body(), "model": str(model), "calibration": str(pilot / "calibration" / "traffic.jsonl"),
        "dev": str(dev), "heldout": str(pilot / "heldout" / "text.jsonl"), "settings": SETTINGS.body(), "folder": str(folder / "made"),
    }  # fmt: skip
    told = process.run("qat_folder_jobs:trained", payload, threads=1).value
    return told | {"folder": folder / "made", "width": width, "mixed": request.param == "mix"}


def test_it_trains_and_the_artifact_is_of_the_same_types(made: dict[str, Any]) -> None:
    short, served = Artifact.model_validate(made["short"]), Artifact.model_validate(made["served"])
    training, made_by = Training.model_validate(made["training"]), Recipe.model_validate(made["recipe"])
    assert training.curve[-1].dev_kl_nats < training.curve[0].dev_kl_nats
    assert served.tensors == short.tensors == training.kinds
    assert set(served.tensors.values()) == {"W4A16", made["width"]} | ({"W8A16"} if made["mixed"] else set())
    assert (served.tensors["model.layers.0.mlp.down_proj.weight"] == "W4A16") != made["mixed"]
    assert served.size_bytes == pytest.approx(short.size_bytes, abs=4096)
    assert (made_by.method, made_by.trained) == (METHOD, training.weights)
    assert served.sha256 == digest_of_file(made["folder"] / "served.tar") == made["again"]["sha256"]


def test_plain_transformers_computes_with_the_very_numbers_of_the_last_step(made: dict[str, Any]) -> None:
    assert len(made["unlike"]) > 7
    assert set(made["unlike"].values()) == {0}


def test_integers_and_scales_are_what_rounding_gives(made: dict[str, Any]) -> None:
    """F32: llm-compressor's own preset, bit for bit. BF16: the formula with the scale that is stored, written out here."""
    masters = load_file(made["folder"] / "weights.safetensors")
    with model_folder(made["folder"] / "served.tar") as folder:
        served = tensors_in(folder)
    library = tensors_in(Path(made["library"]))
    layers = [name.removesuffix("_packed") for name in served if name.endswith("weight_packed")]
    assert len(layers) == 7 - made["mixed"]
    for name in layers:
        packed, scales = served[f"{name}_packed"], served[f"{name}_scale"]
        if made["width"] == "F32":
            assert (packed == library[f"{name}_packed"]).all(), name
            assert (scales == library[f"{name}_scale"]).all(), name
            continue
        groups = masters[name].reshape(len(scales), -1, 128)
        bits = 32 * packed.shape[1] // masters[name].shape[1]
        most = 2 ** (bits - 1) - 1
        step = np.abs(groups).max(axis=2) / np.float32(most + 0.5)
        assert np.abs(step / scales - 1).max() <= 2**-8, "the nearest of 8 significant bits"
        integers = (packed.view(np.uint32)[:, :, None] >> np.arange(0, 32, bits, dtype=np.uint32)) & (2**bits - 1)
        wanted = np.clip(np.rint(groups / scales[:, :, None]), -most - 1, most)
        assert (integers.reshape(wanted.shape).astype(np.float32) - most - 1 == wanted).all(), name
        assert bits == (8 if made["mixed"] and "v_proj" in name else 4)


def tensors_in(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor, bfloat16 as float32."""
    from safetensors.torch import load_file as load

    found = load(folder / "model.safetensors")
    return {name: (one if one.dtype.itemsize == 4 else one.float()).numpy() for name, one in found.items()}


def test_the_configuration_is_that_of_the_artifact_that_was_short(made: dict[str, Any]) -> None:
    configs = []
    for name in ("short", "served"):
        with model_folder(made["folder"] / f"{name}.tar") as folder:
            configs.append(json.loads((folder / "config.json").read_text()))
    for part in (config["quantization_config"] for config in configs):
        groups = part.pop("config_groups").values()
        part["ignore"].sort()
        part["groups"] = {one["weights"]["num_bits"]: one for one in groups}
        for one in groups:  # how GPTQ went about it, which says nothing about what is stored
            del one["weights"]["observer"], one["weights"]["actorder"]
            one["targets"].sort()
    assert configs[0] == configs[1]
