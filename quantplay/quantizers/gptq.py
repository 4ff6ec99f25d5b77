"""The older GPTQ layout, by gptqmodel: for servers that ask for it. Frantar and others, arXiv:2210.17323.

optimum and transformers load these files through gptqmodel, those that auto-gptq wrote too (docs/formats.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quantplay.engines.transformers_model import empty_model, load_tokenizer
from quantplay.plan import Plan
from quantplay.quantizers.calibrating import token_samples
from quantplay.quantizers.folder import Progress, make, targets
from quantplay.quantizers.folder_recipe import folder_recipe, require_extra
from quantplay.quantizers.stored_layers import Stored
from quantplay.records import Inputs, Recipe

FORMAT = "gptq"
MODULES = ("gptqmodel", "optimum")
METHODS: dict[str, str] = {"GPTQ_INT4": "gptqmodel-gptq"}
STORED: dict[str, Stored] = {
    "GPTQ_INT4": Stored(parts={"qweight": "I32", "qzeros": "I32", "scales": "*", "g_idx": "I32"})
}
FEWEST_WORKERS = 2  # gptqmodel raises below


def build_recipe(
    plan: Plan, kind: str, inputs: Inputs, *, threads: int, converter: str | None = None,
    tensor_types: Mapping[str, str] | None = None, importance: bool | None = None,
) -> Recipe:  # fmt: skip
    """Recipe for type `kind`; `converter`, `tensor_types` and `importance` are GGUF's. Raises MissingDependency, InputError."""
    require_extra(FORMAT, MODULES)
    return folder_recipe(
        plan, kind, inputs, serving_format=FORMAT, method=METHODS.get(kind, ""), packages=("gptqmodel", "optimum"),
        threads=threads,
    )  # fmt: skip


def compress(recipe: Recipe, model_folder: Path, calibration_file: Path, out: Path) -> dict[str, str]:
    """Quantize the model and save it below `out`; the layers that were meant, with their types. gptqmodel saves 16 bits where the source has 32."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(max(FEWEST_WORKERS, recipe.threads)))
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig  # type: ignore[import-not-found]

    torch.manual_seed(recipe.seed)
    source = empty_model(model_folder)
    meant = targets(source, recipe)
    samples = token_samples(load_tokenizer(model_folder), recipe, calibration_file)
    model_folder, out = model_folder.absolute(), out.absolute()
    settings = QuantizeConfig(bits=4, group_size=recipe.group_size, sym=True, desc_act=False)
    with TemporaryDirectory(prefix="quantplay-gptq-") as scratch, chdir(scratch):  # it writes logs/ where it runs
        model = GPTQModel.load(str(model_folder), settings, device="cpu", trust_remote_code=False)
        model.quantize([{"input_ids": one, "attention_mask": [1] * len(one)} for one in samples], batch_size=1)
        # gptqmodel 7.6 adds a `rope_theta` of its own to configurations that have one a kind of layer (Gemma 3), and transformers
        # then refuses to save them.
        model.model.config.rope_parameters = source.config.rope_parameters
        model.save(str(out))
    return meant


def quantize_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process. payload: recipe (body), model, calibration, out. Returns the artifact's body."""
    require_extra(FORMAT, MODULES)
    recipe = Recipe.model_validate(payload["recipe"])
    return make(
        recipe, compress, STORED, model=Path(payload["model"]), calibration=Path(payload["calibration"]),
        out=Path(payload["out"]), on_progress=report,
    ).body()  # fmt: skip
