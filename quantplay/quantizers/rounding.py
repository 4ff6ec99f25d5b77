"""Trained weights into compressed-tensors: llm-compressor rounds them once to nearest, and nothing else moves them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantplay.engines.transformers_model import load_model
from quantplay.formats import TYPES
from quantplay.quantizers.folder import json_bytes, read_object, targets
from quantplay.quantizers.layer_types import FULL
from quantplay.records import Recipe

METHOD = "llm-compressor-round-to-nearest"


def rounding_recipe(recipe: Recipe) -> Recipe:
    """`recipe` of the same types, made by rounding alone."""
    return recipe.model_copy(update={"method": METHOD, "calibration_samples": 0, "calibration_tokens": 0})


def round_weights(recipe: Recipe, model_folder: Path, _calibration: Path, out: Path, *, width: str) -> dict[str, str]:
    """Round the float32 weights in `model_folder`, save them below `out`; the layers that were meant, with their types.

    width: torch's name of the precision that scales and all other tensors are stored in. Scales are rounded to it before they
    divide the weights, which stay float32: on a model that is loaded in bfloat16 llm-compressor divides in bfloat16 too, and
    with that 0.6 % of random integers come out different (0.14.0.1, on a CPU).
    """
    from llmcompressor.entrypoints.oneshot import oneshot

    model = load_model(model_folder)
    meant = targets(model, recipe)
    oneshot(model=model, recipe=[rounding(meant if recipe.tensor_types else {"Linear": recipe.type}, width)])
    model.save_pretrained(str(out), save_compressed=True)
    if width != "float32":
        narrow(out, width)
    return meant


def rounding(types: Mapping[str, str], width: str) -> Any:
    """llm-compressor's step. types: name or class of a layer -> its type; those of type `FULL` stay as they are."""
    import torch
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationScheme,
        QuantizationStrategy,
        QuantizationType,
    )
    from llmcompressor.modifiers.quantization import QuantizationModifier

    groups = {}
    for number, kind in enumerate(kind for kind in dict.fromkeys(types.values()) if kind != FULL):
        weights = QuantizationArgs(
            num_bits=TYPES[kind].nominal_bits, type=QuantizationType.INT, symmetric=True, strategy=QuantizationStrategy.GROUP,
            group_size=TYPES[kind].group_size, scale_dtype=None if width == "float32" else getattr(torch, width),
        )  # fmt: skip
        layers = [layer for layer, one in types.items() if one == kind]
        groups[f"group_{number}"] = QuantizationScheme(targets=layers, weights=weights)
    full = [layer for layer, kind in types.items() if kind == FULL]
    return QuantizationModifier(config_groups=groups, ignore=["lm_head", *full])


def narrow(folder: Path, width: str) -> None:
    """Store every float32 tensor as `width`, and say so in the configuration as a model of that precision says it."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        narrowed = {
            name: one.to(getattr(torch, width)) if one.dtype == torch.float32 else one for name, one in tensors.items()
        }
        save_file(narrowed, path, metadata={"format": "pt"})
    config: dict[str, Any] = read_object(folder / "config.json") | {"dtype": width}
    for group in config["quantization_config"]["config_groups"].values():
        group["weights"]["scale_dtype"] = None  # the scales' own dtype says it
    (folder / "config.json").write_bytes(json_bytes(config))
