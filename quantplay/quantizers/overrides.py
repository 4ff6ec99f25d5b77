"""Undocumented overrides: tensors of an artifact that are not stored as its recipe says."""

from __future__ import annotations

from pathlib import Path

from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.envelope.mix import stored_types
from quantplay.errors import Fault, IntegrityError
from quantplay.quantizers.gguf import expand_overrides
from quantplay.records import Recipe

EXPERTS = "_exps."
"""llama.cpp's rules for fused experts are not modelled by envelope/mix.py: such tensors are left out of the comparison."""


def undocumented_overrides(recipe: Recipe, file: Path) -> list[Fault]:
    """One fault a tensor of the GGUF `file` whose type follows neither from the recipe's mix nor from its overrides.

    Reads the header alone. Raises IntegrityError where the file is damaged.
    """
    header = read_gguf_header(file)
    tensors = header.tensors
    if not tensors:
        return []
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    layers, heads_per_group = layers_of(header, file)
    wanted = stored_types(
        shapes, recipe.type, layers=layers, heads_per_group=heads_per_group, importance=recipe.importance_matrix
    )
    wanted |= expand_overrides(recipe.tensor_types, shapes)
    return [
        Fault(
            where=name,
            what="is stored as another type than the recipe makes it",
            value=tensor.kind,
            allowed=wanted[name],
            fix="name it in the recipe's tensor_types, or make the artifact again from the recipe",
        )
        for name, tensor in tensors.items()
        if tensor.kind != wanted[name] and EXPERTS not in name
    ]


def layers_of(header: GgufHeader, file: Path) -> tuple[int, int]:
    """Blocks of the model, and query heads that share a key-value head, from the metadata of a GGUF file."""

    def number(key: str, default: int) -> int:
        value = header.metadata.get(f"{architecture}.{key}", default)
        return int(max(value)) if isinstance(value, list) else int(value)

    try:
        architecture = header.metadata["general.architecture"]
        heads = number("attention.head_count", 1)
        return number("block_count", 1), max(1, heads // max(1, number("attention.head_count_kv", heads)))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{file} does not say how large its model is", value=error, fix="make it again") from error
