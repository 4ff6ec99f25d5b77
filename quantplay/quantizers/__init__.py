"""How a serving format is made: a literal registry, loaded only when used.

To add a format: a line in formats.FORMATS with its types, a module here with `build_recipe`, `quantize` and `quantize_job` of the
same signatures as in gguf.py, its line in `METHODS`, an extra in pyproject.toml where it needs packages, and one end-to-end test.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from quantplay.errors import InputError, MissingDependency
from quantplay.quantizers.folder_recipe import require_extra

METHODS: dict[str, str] = {
    "gguf": "quantplay.quantizers.gguf",  # llama.cpp's own quantizer, with or without an importance matrix
    "compressed-tensors": "quantplay.quantizers.compressed_tensors",  # llm-compressor: GPTQ, AWQ, SmoothQuant, FP8
    "bitsandbytes": "quantplay.quantizers.bitsandbytes",  # LLM.int8()
    "gptq": "quantplay.quantizers.gptq",  # gptqmodel, where a server asks for the older layout
}
"""Serving format -> module that makes it. `METHODS[format] + ":quantize_job"` is the target for quantplay.process."""


def missing_extra(serving_format: str) -> MissingDependency | None:
    """The error with the install command where what makes this format is not installed; None where nothing is missing."""
    made_by = method(serving_format)
    try:
        if hasattr(made_by, "MODULES"):
            require_extra(serving_format, made_by.MODULES)
    except MissingDependency as missing:
        return missing
    return None


def method(serving_format: str) -> ModuleType:
    """The module for `serving_format`: build_recipe, quantize, quantize_job."""
    if serving_format not in METHODS:
        raise InputError("no quantizer makes this format", value=serving_format, allowed=", ".join(METHODS))
    return importlib.import_module(METHODS[serving_format])
