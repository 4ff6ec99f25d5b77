"""compressed-tensors, what vLLM serves, by llm-compressor: GPTQ, AWQ, SmoothQuant with GPTQ, and FP8.

GPTQ: Frantar and others, arXiv:2210.17323. AWQ: Lin and others, arXiv:2306.00978. SmoothQuant: Xiao and others, arXiv:2211.10438.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.plan import Plan
from quantplay.quantizers.calibrating import token_samples
from quantplay.quantizers.folder import Progress, make, stored_dtype, targets
from quantplay.quantizers.folder_recipe import folder_recipe, require_extra
from quantplay.quantizers.layer_types import FULL, with_types
from quantplay.quantizers.rounding import round_weights
from quantplay.quantizers.stored_layers import Stored
from quantplay.quantizers.trained import trained_folder
from quantplay.records import Inputs, Recipe

if TYPE_CHECKING:
    import torch

FORMAT = "compressed-tensors"
MODULES = ("llmcompressor", "compressed_tensors")
METHODS: dict[str, str] = {
    "W4A16": "llm-compressor-gptq",
    "W4A16_AWQ": "llm-compressor-awq",
    "W8A16": "llm-compressor-gptq",
    "W8A8": "llm-compressor-smoothquant-gptq",
    "FP8_DYNAMIC": "llm-compressor-fp8",
}
"""Type -> how it is made. To add one: a line here, in `modifiers` and in `STORED`, and in formats.TYPES."""

STORED: dict[str, Stored] = {
    "W4A16": Stored(parts={"weight_packed": "I32", "weight_scale": "*"}, per_word=8),
    "W4A16_AWQ": Stored(parts={"weight_packed": "I32", "weight_scale": "*", "weight_zero_point": "I32"}, per_word=8),
    "W8A16": Stored(parts={"weight_packed": "I32", "weight_scale": "*"}, per_word=4),
    "W8A8": Stored(parts={"weight": "I8", "weight_scale": "*"}),
    "FP8_DYNAMIC": Stored(parts={"weight": "F8_E4M3", "weight_scale": "*"}),
}
SMOOTHING = 0.8  # llm-compressor's own example for Llama-like models; 0.5 is the paper's


def build_recipe(
    plan: Plan, kind: str, inputs: Inputs, *, threads: int, converter: str | None = None,
    tensor_types: Mapping[str, str] | None = None, importance: bool | None = None,
) -> Recipe:  # fmt: skip
    """Recipe for type `kind`; `converter` and `importance` are GGUF's.

    tensor_types: of a mix, "^escaped.name.of.a.layer$" -> a type of layer_types.MIXED, or `full`. Raises MissingDependency, InputError.
    """
    require_extra(FORMAT, MODULES)
    recipe = folder_recipe(
        plan, kind, inputs, serving_format=FORMAT, method=METHODS.get(kind, ""), packages=("llmcompressor", "compressed-tensors"),
        threads=threads, calibrated=kind != "FP8_DYNAMIC", bits_activations=8 if kind in ("W8A8", "FP8_DYNAMIC") else 16,
    )  # fmt: skip
    return with_types(recipe, tensor_types or {})


def smoothing(layers: Iterable[str]) -> list[tuple | list] | None:
    """Which norm's outputs are scaled for which `layers`; None for llm-compressor's own table.

    In blocks with four norms (Gemma 2 and 3, and those built like them) the feed-forward part reads `pre_feedforward_layernorm`;
    llm-compressor 0.14 scales `post_attention_layernorm` there, whose output goes into the residual, and so changes the model
    (its pull request 2174; measured: 0.06 nats where other 8-bit models lose 0.00002).
    """
    if not any(name.endswith("pre_feedforward_layernorm") for name in layers):
        return None
    return [
        (["re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$"], "re:.*input_layernorm$"),
        (["re:.*gate_proj$", "re:.*up_proj$"], "re:.*pre_feedforward_layernorm$"),
    ]


def modifiers(kind: str, layers: Iterable[str], types: Mapping[str, str] | None = None) -> list[Any]:
    """llm-compressor's steps for `kind`, over every linear layer but the output matrix. layers: names of the model's modules.

    types: of a mix, layer -> one of layer_types.MIXED or `FULL`: each is named to llm-compressor, so that its patterns play no part.
    """
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    if types:
        named: dict[str, list[str]] = {}
        for layer, one in types.items():
            named.setdefault(one, []).append(layer)
        return [GPTQModifier(ignore=["lm_head", *named.pop(FULL, [])], scheme=named)]
    spared: Any = {"targets": ["Linear"], "ignore": ["lm_head"]}
    if kind in ("W4A16", "W8A16"):
        return [GPTQModifier(scheme=kind, **spared)]
    if kind == "W4A16_AWQ":
        return [AWQModifier(), QuantizationModifier(scheme="W4A16_ASYM", **spared)]
    if kind == "W8A8":
        smooth = SmoothQuantModifier(smoothing_strength=SMOOTHING, mappings=smoothing(layers))
        return [smooth, GPTQModifier(scheme="W8A8", **spared)]
    return [QuantizationModifier(scheme="FP8_DYNAMIC", **spared)]


def compress(recipe: Recipe, model_folder: Path, calibration_file: Path, out: Path) -> dict[str, str]:
    """Quantize the model and save it below `out`, in the source's own precision; the layers that were meant, with their types."""
    import torch
    from llmcompressor.entrypoints.oneshot import oneshot

    torch.manual_seed(recipe.seed)
    model = load_model(model_folder, dtype=stored_dtype(model_folder))
    meant = targets(model, recipe)
    loader = calibration(recipe, model_folder, calibration_file) if recipe.calibration_samples else None
    with unpinned():
        names = [name for name, _ in model.named_modules()]
        steps = modifiers(recipe.type, names, meant if recipe.tensor_types else None)
        oneshot(model=model, tokenizer=str(model_folder), recipe=steps, dataset=loader)
    model.save_pretrained(str(out), save_compressed=True)
    return meant


def calibration(recipe: Recipe, model_folder: Path, file: Path) -> torch.utils.data.DataLoader:
    """The calibration texts, one a batch."""
    import torch

    ids = [torch.tensor([tokens]) for tokens in token_samples(load_tokenizer(model_folder), recipe, file)]
    samples = [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in ids]
    return torch.utils.data.DataLoader(samples, batch_size=None, shuffle=False)  # type: ignore[arg-type]


@contextmanager
def unpinned() -> Iterator[None]:
    """Without an accelerator, AWQ's cache must not pin memory for one: torch refuses that.

    llm-compressor 0.14 pins without asking (modifiers/transform/awq/base.py, `_apply_smoothing`), whatever `offload_device` says:
    "RuntimeError: Cannot access accelerator device when none is available". Pinning only makes copies to a device faster.
    """
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if torch.accelerator.is_available():
        yield
        return
    pin = IntermediatesCache.pin_memory
    IntermediatesCache.pin_memory = lambda self, batch_index, input_names=None: None
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = pin


def quantize_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process. payload: recipe (body), model, calibration, out; for a recipe of trained weights also weights (their
    file) and scratch (an existing folder). Returns the artifact's body.
    """
    require_extra(FORMAT, MODULES)
    recipe, model = Recipe.model_validate(payload["recipe"]), Path(payload["model"])
    made = partial(
        make, recipe, stored=STORED, calibration=Path(payload["calibration"]), out=Path(payload["out"]),
        on_progress=report,
    )  # fmt: skip
    if recipe.trained is None:
        return made(compress=compress, model=model).body()
    with trained_folder(model, Path(payload["weights"]), recipe.trained, Path(payload["scratch"])) as folder:
        return made(compress=partial(round_weights, width=stored_dtype(model)), model=folder).body()
