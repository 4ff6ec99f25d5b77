"""Full precision in the serving format: conversion without quantization.

It is what quantization starts from, and the arm that tells a conversion fault from a quantization fault.
"""

from __future__ import annotations

from pathlib import Path

from quantplay import process
from quantplay.digest import digest_of
from quantplay.engines.converter import ensure_converter
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.quantizers.gguf import read_tensors
from quantplay.quantizers.recipe import library_versions
from quantplay.records import Artifact, Inputs, Recipe

NO_CALIBRATION = digest_of([])


def reference_recipe(inputs: Inputs, cache: Path) -> Recipe:
    """How the full-precision file is made; its digest is the key of the converted artifact."""
    return Recipe(
        format="gguf",
        type="F32",
        method="llama.cpp-convert",
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
        versions=library_versions(),
        converter=ensure_converter(cache).digest,
    )


def convert_reference(
    recipe: Recipe, pinned: Pinned, *, out: Path, cache: Path, on_progress: Report | None = None
) -> Artifact:
    """Convert the source model to `out` at float32 with llama.cpp's converter, in a child process."""
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
