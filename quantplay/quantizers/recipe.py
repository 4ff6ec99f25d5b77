"""The recipe of an artifact: everything needed to make the same bytes again on the same stack."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

import quantplay
from quantplay.engines.converter import installed_pin
from quantplay.envelope.choose import uses_importance
from quantplay.errors import InputError
from quantplay.formats import TYPES, types_of
from quantplay.plan import Plan
from quantplay.records import Digest, Inputs, Recipe

# Packages that read weights, tokenize calibration texts, compute activations or write the file.
PACKAGES = ("gguf", "llama-cpp-python", "numpy", "safetensors", "sentencepiece", "tokenizers", "torch", "transformers")
HIGHER_PRECISION = (
    "norms, biases and other vectors: F32",
    "small tensors llama.cpp never quantizes, such as expert gates and convolutions: F32",
)
EACH_NAMED = "every other matrix: the type that `tensor_types` gives it"
"""Of a recipe that names the type of every matrix: the format's own mix plays no part."""
MIXED = (
    "output matrix, or the embedding where both are one: Q6_K (Q8_0 in a Q8_0 file, Q5_K below 3 bits)",
    "value and feed-forward down projections: more bits where the mix says so",
)


def build_recipe(
    plan: Plan,
    kind: str,
    inputs: Inputs,
    *,
    threads: int,
    converter: Digest,
    tensor_types: Mapping[str, str] | None = None,
    importance: bool | None = None,
) -> Recipe:
    """Recipe for type `kind` (a name of formats.TYPES) of the plan's model.

    converter: digest of the converter's sources. tensor_types: regular expression (searched in the tensor's name) -> ggml type
    such as Q6_K, above or below what the mix would take. importance: with an importance matrix; None: at 4 bits and below. Raises InputError on a type llama.cpp does not have.
    """
    known = types_of("llama.cpp")
    if kind not in known:
        raise InputError("llama.cpp has no such type", value=kind, allowed=", ".join(known))
    serving = TYPES[kind]
    return Recipe(
        format=serving.format,
        type=kind,
        method="llama.cpp-quantize",
        bits_per_weight=serving.bits_per_weight,
        bits_activations=32 if serving.nominal_bits == 32 else 16,
        group_size=serving.group_size,
        importance_matrix=uses_importance(serving) if importance is None else importance,
        tensor_types=dict(tensor_types or {}),
        higher_precision=HIGHER_PRECISION + (MIXED if serving.nominal_bits < 16 else ()),
        model=inputs.model.content,
        calibration=inputs.calibration.content,
        calibration_samples=plan.calibration.samples,
        calibration_tokens=plan.calibration.tokens,
        seed=plan.seed,
        threads=threads,
        versions=library_versions(),
        converter=converter,
    )


def library_versions() -> dict[str, str]:
    """Name -> version of everything whose change can change the bytes."""
    import llama_cpp

    _, pin = installed_pin()
    return {
        "quantplay": quantplay.__version__,
        "python": platform.python_version(),
        "llama.cpp": f"{llama_cpp.llama_version().decode()} {pin.commit[:12]}",
        **{name: metadata.version(name) for name in PACKAGES},
    }
