"""How a serving format is made: a literal registry, loaded only when used.

To add a format: a line in formats.FORMATS with its types, a module here with `build_recipe`, `quantize` and `quantize_job` of the
same signatures as in gguf.py, its line in `METHODS`, an extra in pyproject.toml where it needs packages, and one end-to-end test.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from quantplay.errors import InputError

METHODS: dict[str, str] = {
    "gguf": "quantplay.quantizers.gguf",  # llama.cpp's own quantizer, with or without an importance matrix
    "compressed-tensors": "quantplay.quantizers.compressed_tensors",  # llm-compressor: GPTQ, AWQ, SmoothQuant, FP8
    "bitsandbytes": "quantplay.quantizers.bitsandbytes",  # LLM.int8()
    "gptq": "quantplay.quantizers.gptq",  # gptqmodel, where a server asks for the older layout
}
"""Serving format -> module that makes it. `METHODS[format] + ":quantize_job"` is the target for quantplay.process."""


def method(serving_format: str) -> ModuleType:
    """The module for `serving_format`: build_recipe, quantize, quantize_job."""
    if serving_format not in METHODS:
        raise InputError("no quantizer makes this format", value=serving_format, allowed=", ".join(METHODS))
    return importlib.import_module(METHODS[serving_format])
