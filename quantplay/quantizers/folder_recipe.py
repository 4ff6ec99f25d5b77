"""Recipes of the formats that are folders, and whether what makes them is installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.util import find_spec

import quantplay
from quantplay.digest import digest_of
from quantplay.errors import InputError, MissingDependency
from quantplay.formats import FORMATS, TYPES
from quantplay.plan import Plan
from quantplay.records import Inputs, Recipe

PACKAGES = ("accelerate", "numpy", "safetensors", "tokenizers", "torch", "transformers")
NO_CONVERTER = digest_of([])  # nothing is converted
HIGHER_PRECISION = ("embedding, output matrix, norms, biases and other vectors: as in the source",)


def require_extra(serving_format: str, modules: Sequence[str]) -> None:
    """Raise MissingDependency, naming the one command that installs it, where a module of the format's extra is not there."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        extra = FORMATS[serving_format].extra
        raise MissingDependency(
            f"{serving_format} needs {' and '.join(missing)}", value="not installed",
            fix=f"pip install 'quantplay[{extra}]'",
        )  # fmt: skip


def versions_here(names: Iterable[str]) -> dict[str, str]:
    """Name -> version of everything whose change can change the bytes; "none" for what is not installed."""
    own = {"quantplay": quantplay.__version__, "python": platform.python_version()}
    return {name: own.get(name) or version_of(name) for name in names}


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def folder_recipe(
    plan: Plan, kind: str, inputs: Inputs, *, serving_format: str, method: str, packages: Sequence[str], threads: int,
    calibrated: bool = True, bits_activations: int = 16,
) -> Recipe:  # fmt: skip
    """Recipe for type `kind` of `serving_format`. Raises InputError on a type of another format."""
    serving = TYPES.get(kind)
    if serving is None or serving.format != serving_format:
        known = ", ".join(name for name, one in TYPES.items() if one.format == serving_format)
        raise InputError(f"{serving_format} has no such type", value=kind, allowed=known)
    return Recipe(
        format=serving_format,
        type=kind,
        method=method,
        bits_per_weight=serving.bits_per_weight,
        bits_activations=bits_activations,
        group_size=serving.group_size,
        importance_matrix=False,
        tensor_types={},
        higher_precision=HIGHER_PRECISION,
        model=inputs.model.content,
        calibration=inputs.calibration.content,
        calibration_samples=plan.calibration.samples if calibrated else 0,
        calibration_tokens=plan.calibration.tokens if calibrated else 0,
        seed=plan.seed,
        threads=threads,
        versions=versions_here(("quantplay", "python", *PACKAGES, *packages)),
        converter=NO_CONVERTER,
    )
