"""Folders that were quantized elsewhere: layouts of GPTQ and AWQ as their makers write them, and every way in which one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_folders import (
    AWQ,
    GPTQ,
    GROUP,
    HIDDEN,
    LINEAR,
    WIDE,
    Tensors,
    awq_layer,
    full_precision,
    gptq_layer,
    quantized,
    rest,
    saved,
    scales,
)
from safetensors.numpy import load_file, save_file

from quantplay.errors import InputError, QuantplayError
from quantplay.quantizers.imported import read_artifact, require_made_from


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return full_precision(tmp_path / "base")


@pytest.mark.parametrize(
    ("told", "layer", "kind"), [(AWQ, awq_layer, "AWQ_INT4_G128"), (GPTQ, gptq_layer, "GPTQ_INT4")]
)
def test_what_a_folder_says_is_read(
    told: dict[str, Any], layer: Callable[[int, int], Tensors], kind: str, base: Path, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "artifact", {"quantization_config": told}, quantized(layer))
    found = read_artifact(folder)
    assert (found.format, found.type, found.nominal_bits, found.group_size) == (told["quant_method"], kind, 4, GROUP)
    assert found.full_precision == ("model.embed_tokens.weight",)
    assert found.tensors["model.layers.0.mlp.down_proj.weight"] == kind
    assert require_made_from(folder, found, base) == sum(
        tensor.size for tensor in load_file(base / "model.safetensors").values()
    )


def test_a_configuration_in_a_file_of_its_own_is_read_too(base: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "artifact", {}, quantized(gptq_layer))
    old = {key: value for key, value in GPTQ.items() if key != "quant_method"}
    (folder / "quantize_config.json").write_text(json.dumps(old))
    assert read_artifact(folder).type == "GPTQ_INT4"


def drop(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: [tensors.pop(one) for one in list(tensors) if one.endswith(name)] and None


def change(name: str, to: np.ndarray) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({f"model.layers.0.mlp.up_proj.{name}": to})


NAN = scales(HIDDEN // GROUP, WIDE)
NAN[0, 3] = np.nan


@pytest.mark.parametrize(
    ("config", "broken", "said"),
    [
        (AWQ | {"bits": 3}, None, "not what bits and groups"),
        (AWQ | {"group_size": 64}, None, "not what bits and groups"),
        (AWQ | {"bits": 5}, None, "2, 3, 4 or 8 bits"),
        (AWQ | {"version": "gemv"}, None, "this layout of AWQ is not known"),
        (AWQ | {"quant_method": "eetq"}, None, "gptq, awq, compressed-tensors"),
        (GPTQ, None, "not what bits and groups"),  # AWQ's tensors under GPTQ's name
        (AWQ, change("qweight", np.zeros((HIDDEN, WIDE // 8), np.int64)), "I64"),
        (AWQ, change("scales", scales(HIDDEN // GROUP, WIDE - 8)), "mlp.up_proj.scales"),
        (AWQ, change("scales", NAN), "1 of 1024 values are NaN or infinite"),
        (AWQ, drop("qzeros"), "missing"),
        (AWQ, drop("qweight"), "no layer of this folder"),
    ],
)  # fmt: skip
def test_words_that_the_bytes_contradict_are_refused(
    config: dict[str, Any], broken: Callable[[Tensors], None] | None, said: str, tmp_path: Path
) -> None:
    tensors = quantized(awq_layer)
    if broken is not None:
        broken(tensors)
    with pytest.raises(InputError, match=said):
        read_artifact(saved(tmp_path / "artifact", {"quantization_config": config}, tensors))


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Mine"}}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (truncate, "truncated"),
        (own_code, "asks for code of its own"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."), "pickle"),
        (lambda folder: (folder / "modeling.py").write_text("import os"), "code in a model folder"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    ],
)
def test_files_that_are_not_whole_or_not_harmless_are_refused(
    harm: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "artifact", {"quantization_config": AWQ}, quantized(awq_layer))
    harm(folder)
    with pytest.raises(QuantplayError, match=said):
        read_artifact(folder)


def test_a_pickle_and_full_precision_are_refused(base: Path, tmp_path: Path) -> None:
    (pickle := tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="runs code when it is loaded"):
        read_artifact(pickle)
    with pytest.raises(InputError, match="does not say that its weights are quantized"):
        read_artifact(base)
    with pytest.raises(InputError, match="no such artifact"):
        read_artifact(tmp_path / "nothing")


def test_another_models_artifact_is_refused(base: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "artifact", {"quantization_config": AWQ}, quantized(awq_layer))
    told = read_artifact(folder)
    (base / "model.safetensors").unlink()
    full = {f"model.layers.0.{name}.weight": scales(*shape) for name, shape in LINEAR.items()}
    full["model.layers.0.mlp.up_proj.weight"] = scales(WIDE, HIDDEN + 8)
    save_file(rest() | full, base / "model.safetensors")
    with pytest.raises(InputError, match=r"was not made from(.|\n)*mlp.up_proj.weight: has another shape"):
        require_made_from(folder, told, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
    with pytest.raises(InputError, match=r"architecture: is not the base model's; found llama; allowed: qwen2"):
        require_made_from(folder, told, base)


def test_an_output_matrix_may_be_missing_only_where_the_embedding_is_one(base: Path, tmp_path: Path) -> None:
    """And programs store biases of zeros and tables of angles that no model has."""
    zeros = {f"model.layers.0.{name}.bias": scales(shape[0]) for name, shape in LINEAR.items()}
    angles = {"model.layers.0.self_attn.rotary_emb.inv_freq": scales(32)}
    folder = saved(tmp_path / "artifact", {"quantization_config": AWQ}, quantized(awq_layer) | zeros | angles)
    told = read_artifact(folder)
    assert require_made_from(folder, told, base)
    full = load_file(base / "model.safetensors")
    save_file(full | {"lm_head.weight": full["model.embed_tokens.weight"].copy()}, base / "model.safetensors")
    config = json.loads((base / "config.json").read_text())
    assert config["tie_word_embeddings"]
    assert require_made_from(folder, told, base)
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(InputError, match=r"lm_head\.weight: is missing in the artifact"):
        require_made_from(folder, told, base)
