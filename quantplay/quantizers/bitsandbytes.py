"""8 bits for general use, by bitsandbytes: LLM.int8() (Dettmers and others, arXiv:2208.07339). No calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantplay.engines.transformers_model import empty_model, load_model
from quantplay.plan import Plan
from quantplay.quantizers.folder import Progress, make, stored_dtype, targets
from quantplay.quantizers.folder_recipe import folder_recipe, require_extra
from quantplay.quantizers.stored_layers import Stored
from quantplay.records import Inputs, Recipe

FORMAT = "bitsandbytes"
MODULES = ("bitsandbytes", "accelerate")
METHODS: dict[str, str] = {"BNB_INT8": "bitsandbytes-int8"}
STORED: dict[str, Stored] = {"BNB_INT8": Stored(parts={"weight": "I8", "SCB": "F32"})}


def build_recipe(
    plan: Plan, kind: str, inputs: Inputs, *, threads: int, converter: str | None = None,
    tensor_types: Mapping[str, str] | None = None, importance: bool | None = None,
) -> Recipe:  # fmt: skip
    """Recipe for type `kind`; `converter`, `tensor_types` and `importance` are GGUF's. Raises MissingDependency, InputError."""
    require_extra(FORMAT, MODULES)
    return folder_recipe(
        plan, kind, inputs, serving_format=FORMAT, method=METHODS.get(kind, ""), packages=("bitsandbytes",), threads=threads,
        calibrated=False, bits_activations=8,
    )  # fmt: skip


def compress(recipe: Recipe, model_folder: Path, calibration_file: Path, out: Path) -> dict[str, str]:
    """Quantize while loading, which is bitsandbytes' way, and save below `out`; the layers that were meant, with their types."""
    from transformers import BitsAndBytesConfig

    dtype = stored_dtype(model_folder)
    meant = targets(empty_model(model_folder), recipe)
    model = load_model(model_folder, dtype=dtype, quantization=BitsAndBytesConfig(load_in_8bit=True))
    model.save_pretrained(str(out))
    return meant


def quantize_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process. payload: recipe (body), model, calibration, out. Returns the artifact's body."""
    require_extra(FORMAT, MODULES)
    recipe = Recipe.model_validate(payload["recipe"])
    return make(
        recipe, compress, STORED, model=Path(payload["model"]), calibration=Path(payload["calibration"]),
        out=Path(payload["out"]), on_progress=report,
    ).body()  # fmt: skip
