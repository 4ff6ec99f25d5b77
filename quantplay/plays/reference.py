"""Full precision in the serving format: conversion without quantization.

It is what quantization starts from, and the arm that tells a conversion fault from a quantization fault.
"""

from __future__ import annotations

import time
from math import prod
from pathlib import Path

from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.converter import ensure_converter
from quantplay.engines.model_file import write_model_file
from quantplay.evalset import model_files
from quantplay.evalset.weights import BITS, read_header
from quantplay.formats import loads_gguf
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.quantizers.folder_recipe import NO_CONVERTER
from quantplay.quantizers.gguf import read_tensors
from quantplay.quantizers.recipe import library_versions
from quantplay.records import Artifact, Inputs, Recipe

NO_CALIBRATION = digest_of([])
FOLDER = "safetensors"
"""Format of the reference where the serving runtime loads what the source is."""


def reference_recipe(inputs: Inputs, cache: Path, runtime: str = "llama.cpp") -> Recipe:
    """How the full-precision file for `runtime` is made; its digest is the key of the artifact."""
    as_it_is = not loads_gguf(runtime)
    return Recipe(
        format=FOLDER if as_it_is else "gguf",
        type="F32",
        method="as-it-is" if as_it_is else "llama.cpp-convert",
        bits_per_weight=32,
        bits_activations=32,
        group_size=1,
        importance_matrix=False,
        tensor_types={},
        higher_precision=(),
        model=inputs.model.content,
        calibration=NO_CALIBRATION,
        calibration_samples=0,
        calibration_tokens=0,
        seed=0,
        threads=1,
        versions={} if as_it_is else library_versions(),
        converter=NO_CONVERTER if as_it_is else ensure_converter(cache).digest,
    )


def convert_reference(
    recipe: Recipe, pinned: Pinned, *, out: Path, cache: Path, on_progress: Report | None = None
) -> Artifact:
    """Convert the source model to `out` at float32 with llama.cpp's converter, in a child process.

    Where the serving runtime loads what the source is, nothing is converted: the model's files become one, as they are.
    """
    if recipe.format == FOLDER:
        return keep_as_it_is(recipe, pinned, out)
    outcome = process.run(
        "quantplay.engines.converter:convert_job",
        {"model": str(pinned.paths.model), "out": str(out), "cache": str(cache), "outtype": "f32"},
        threads=1,
        on_progress=on_progress,
    )
    return Artifact(
        recipe=recipe.digest(),
        format=recipe.format,
        type=recipe.type,
        file_name=out.name,
        sha256=outcome.value["sha256"],
        size_bytes=outcome.value["size_bytes"],
        bits_per_weight=32,
        tensors={name: tensor.kind for name, tensor in read_tensors(out).items()},
        importance_matrix=None,
        seconds=round(outcome.seconds, 3),
        peak_resident_bytes=outcome.peak_resident_bytes,
    )


def keep_as_it_is(recipe: Recipe, pinned: Pinned, out: Path) -> Artifact:
    """The source model's pinned files as one file."""
    started = time.perf_counter()
    files = model_files(pinned.paths.model)
    write_model_file(pinned.paths.model, out, files)
    headers = [read_header(path) for path in files.values() if path.suffix == ".safetensors"]
    tensors = {name: tensor for header in headers for name, tensor in header.items()}
    weights = sum(prod(tensor.shape) for tensor in tensors.values())
    bits = sum(prod(tensor.shape) * BITS[tensor.dtype] for tensor in tensors.values())
    return Artifact(
        recipe=recipe.digest(),
        format=recipe.format,
        type=recipe.type,
        file_name=out.name,
        sha256=digest_of_file(out),
        size_bytes=out.stat().st_size,
        bits_per_weight=bits / weights,
        tensors={name: tensor.dtype for name, tensor in tensors.items()},
        importance_matrix=None,
        seconds=round(time.perf_counter() - started, 3),
        peak_resident_bytes=process.peak_resident_bytes(),
    )
