"""GGUF for llama.cpp: the full-precision GGUF, an importance matrix where the recipe asks for one, llama.cpp's quantizer, and a
look into the file that came out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.ggml import ABORTS_WITHOUT_IMPORTANCE, KINDS
from quantplay.engines.gguf_header import StoredTensor, read_gguf_header
from quantplay.engines.llama_quantize import quantize_file
from quantplay.engines.whole_file import require_space, written_whole
from quantplay.envelope.mix import FULL_PRECISION, Shape, block_size, is_meant_to_be_quantized
from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.evalset import require_finite_weights
from quantplay.formats import TYPES
from quantplay.quantizers.importance import ImportanceMatrix, calibration_texts, measure_importance
from quantplay.quantizers.importance_kept import kept_file, kept_or_measured, measured_with
from quantplay.quantizers.recipe import build_recipe
from quantplay.records import Artifact, Recipe

Progress = Callable[[int, int, str], None]
RECIPE_KEY = "quantplay.recipe"  # metadata key in the GGUF: digest of the recipe it was made by
IMPORTANCE_KEY = "quantplay.importance_matrix"
WITHOUT_IMPORTANCE = frozenset({"token_embd.weight", "per_layer_token_embd.weight", "output.weight"})
"""No importance matrix covers these, and llama.cpp does not ask for one (tensor_requires_imatrix of src/llama-quant.cpp)."""

__all__ = ["build_recipe", "quantize", "quantize_job", "read_tensors"]


def quantize(
    recipe: Recipe,
    *,
    reference_gguf: Path,
    model_folder: Path,
    calibration_file: Path,
    out: Path,
    kept: Path | None = None,
    on_progress: Progress | None = None,
) -> Artifact:
    """Make `out` from the full-precision `reference_gguf` of `model_folder` as `recipe` says.

    The same recipe and inputs give the same bytes; llama.cpp's part of the work does so with any number of threads. `out`
    appears only when every matrix meant to be quantized is. kept: folder of importance matrices that were measured before. Raises InputError where one can't be, or where weights are not
    finite; OutOfSpace on a full disk.
    """
    started = time.perf_counter()
    reference = read_tensors(reference_gguf)
    shapes = {name: tensor.shape for name, tensor in reference.items()}
    weights = sum(tensor.weights for tensor in reference.values())
    overrides = expand_overrides(recipe.tensor_types, shapes)
    require_space(out, int(weights * (recipe.bits_per_weight + 1) / 8))
    matrix = importance_of(recipe, model_folder, calibration_file, on_progress, kept)
    if matrix is not None:
        require_covered(matrix, shapes)
    metadata = {RECIPE_KEY: recipe.digest()} | ({IMPORTANCE_KEY: matrix.digest()} if matrix else {})
    ftype = TYPES[recipe.type].ftype
    assert ftype is not None, recipe.type
    with written_whole(out) as partial:
        quantize_file(
            reference_gguf, partial, ftype=ftype, threads=recipe.threads, importance=matrix.values if matrix else None,
            tensor_types=overrides, metadata=metadata, on_progress=on_progress,
        )  # fmt: skip
        tensors = read_tensors(partial)
        require_quantized(recipe, tensors, shapes, overrides)
        sha256, size_bytes = digest_of_file(partial), partial.stat().st_size
    return Artifact(
        recipe=recipe.digest(),
        format=recipe.format,
        type=recipe.type,
        file_name=out.name,
        sha256=sha256,
        size_bytes=size_bytes,
        bits_per_weight=round(8 * sum(tensor.size_bytes for tensor in tensors.values()) / weights, 6),
        tensors={name: tensor.kind for name, tensor in tensors.items()},
        importance_matrix=matrix.digest() if matrix else None,
        seconds=round(time.perf_counter() - started, 3),
        peak_resident_bytes=process.peak_resident_bytes(),
    )


def importance_of(
    recipe: Recipe,
    model_folder: Path,
    calibration_file: Path,
    on_progress: Progress | None,
    kept: Path | None = None,
) -> ImportanceMatrix | None:
    """The matrix that `recipe` asks for, or None; from the folder `kept` where it was measured before."""
    if not recipe.importance_matrix:
        require_finite_weights(model_folder)
        return None
    asked = {"tokens": recipe.calibration_tokens, "threads": recipe.threads}
    file = kept and kept_file(kept, measured_with(recipe), samples=recipe.calibration_samples, **asked)

    def measure() -> ImportanceMatrix:
        texts = calibration_texts(calibration_file, recipe.calibration_samples)
        return measure_importance(model_folder, texts, **asked, on_progress=on_progress)

    return kept_or_measured(file, measure)


def require_covered(matrix: ImportanceMatrix, shapes: Mapping[str, Shape]) -> None:
    """Raise InputError naming every matrix of a block that the importance matrix does not cover.

    llama.cpp would quantize such a tensor without weighting and only mention it in its log.
    """
    faults = []
    for name, shape in shapes.items():
        if not (name.startswith("blk.") and is_meant_to_be_quantized(name, shape)):
            continue
        values = matrix.values.get(name)
        columns = shape[0] * (shape[2] if len(shape) > 2 else 1)
        if values is None:
            faults.append(Fault(where=name, what="no linear layer of this name was seen on the calibration texts"))
        elif values.size != columns:
            faults.append(
                Fault(where=name, what=f"has {columns} columns", value=f"{values.size} in the importance matrix")
            )
    if faults:
        raise InputError(
            "the importance matrix does not cover the model", faults=faults,
            fix="choose a type above 4 bits, which needs none",
        )  # fmt: skip


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a GGUF file by name. Raises IntegrityError where the file is damaged or cut short."""
    return read_gguf_header(path).tensors


def expand_overrides(tensor_types: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Tensor name -> ggml type, from regular expression -> ggml type.

    Raises InputError on an expression that is broken or matches no matrix, on an unknown type, on two expressions that give one
    tensor different types (which of them is first is not recorded), on rows that don't fit the type's blocks, and where ggml
    would end the whole process instead of refusing: types that hold no weights, and those that need an importance matrix in a
    tensor that none covers.
    """
    matrices = {name: shape for name, shape in shapes.items() if is_meant_to_be_quantized(name, shape)}
    expanded: dict[str, str] = {}
    faults: list[Fault] = []
    for pattern, kind in tensor_types.items():
        where = f"tensor_types: {pattern}"
        if kind not in KINDS:
            faults.append(
                Fault(where=where, what="there is no such ggml type for weights", value=kind, allowed=", ".join(KINDS))
            )
            continue
        try:
            found = [name for name in matrices if re.search(pattern, name)]
        except re.error as error:
            faults.append(Fault(where=where, what=f"is no regular expression: {error}"))
            continue
        if not found:
            faults.append(
                Fault(where=where, what="matches no matrix of this model", allowed=", ".join(sorted(matrices)))
            )
        for name in found:
            if expanded.setdefault(name, kind) != kind:
                faults.append(
                    Fault(where=where, what=f"{name} is given two types", value=f"{expanded[name]} and {kind}")
                )
            if name in WITHOUT_IMPORTANCE and kind in ABORTS_WITHOUT_IMPORTANCE:
                faults.append(
                    Fault(
                        where=where,
                        what=f"{name} can't be stored so: the type needs an importance matrix, and none covers this tensor",
                        value=kind,
                        allowed="IQ2_S, IQ3_XXS, Q2_K and larger types",
                    )
                )
            if matrices[name][0] % block_size(kind):
                faults.append(
                    Fault(
                        where=where,
                        what=f"rows of {name} are no multiple of {block_size(kind)}",
                        value=str(matrices[name][0]),
                    )
                )
    if faults:
        raise InputError("the types for single tensors can't be used", faults=faults)
    return expanded


def require_quantized(
    recipe: Recipe, made: Mapping[str, StoredTensor], shapes: Mapping[str, Shape], overrides: Mapping[str, str]
) -> None:
    """Raise where a tensor is missing or changed its shape, a matrix stayed at full precision, or an override was not followed."""
    if {name: tensor.shape for name, tensor in made.items()} != dict(shapes):
        raise IntegrityError(
            "the quantized file does not hold the tensors of the full-precision file",
            value=", ".join(sorted(made.keys() ^ shapes.keys())) or "shapes differ", fix="report this as a bug of ours",
        )  # fmt: skip
    block = TYPES[recipe.type].block_size
    faults = []
    for name, tensor in made.items():
        wanted = overrides.get(name)
        if wanted is not None:
            if tensor.kind != wanted:
                faults.append(Fault(where=name, what=f"is {tensor.kind}", allowed=wanted))
            continue
        quantized = tensor.kind not in FULL_PRECISION or TYPES[recipe.type].nominal_bits >= 16
        if not quantized and is_meant_to_be_quantized(name, tensor.shape):
            rows = f"stayed {tensor.kind}: its rows have {tensor.shape[0]} weights"
            faults.append(Fault(where=name, what=rows, allowed=f"a multiple of {block}, or of 32"))
    if faults:
        raise InputError(
            f"{len(faults)} tensors can't be stored as {recipe.type}", faults=faults,
            fix="choose F16, BF16 or Q8_0, or a model whose row sizes are multiples of 32 (best of 256)",
        )  # fmt: skip


def quantize_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process. payload: recipe (body), reference, model, calibration, out, kept (folder of importance matrices, or
    left out). Returns the artifact's body.
    """
    artifact = quantize(
        Recipe.model_validate(payload["recipe"]),
        reference_gguf=Path(payload["reference"]),
        model_folder=Path(payload["model"]),
        calibration_file=Path(payload["calibration"]),
        out=Path(payload["out"]),
        kept=Path(payload["kept"]) if payload.get("kept") else None,
        on_progress=report,
    )
    return artifact.body()
