"""The type of every layer of a folder: the recipe's one type, or in a mix what it names layer by layer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from quantplay.errors import Fault, InputError
from quantplay.formats import TYPES
from quantplay.records import Recipe

FULL = "full"
"""In a mix: the layer stays in the source's own precision."""
MIXED: dict[str, tuple[str, ...]] = {"compressed-tensors": ("W8A16", "W4A16")}
"""Format -> the types its mixes are made of beside `FULL`, the most bits first: one method makes them all in one go, and they
leave the activations alone."""
NAMED_WORDS = "every linear layer: the type that `tensor_types` gives it"


def exactly(layer: str) -> str:
    """The key of `Recipe.tensor_types` that means this layer alone."""
    return "^" + layer.replace(".", r"\.") + "$"


def types_of_layers(recipe: Recipe, layers: Iterable[str]) -> dict[str, str]:
    """Layer -> its serving type, or `FULL`.

    Raises InputError where a mix names a type its format has not, a layer that is not there or one twice, or leaves a layer out.
    """
    layers = list(layers)
    if not recipe.tensor_types:
        return dict.fromkeys(layers, recipe.type)
    allowed = (*MIXED.get(recipe.format, ()), FULL)
    found: dict[str, str] = {}
    faults = []
    for pattern, kind in recipe.tensor_types.items():
        where = f"tensor_types: {pattern}"
        if kind not in allowed:
            faults.append(
                Fault(where=where, what="no layer of a mix can be this", value=kind, allowed=", ".join(allowed))
            )
            continue
        try:
            matched = [layer for layer in layers if re.search(pattern, layer)]
        except re.error as error:
            faults.append(Fault(where=where, what=f"is no regular expression: {error}"))
            continue
        if not matched:
            faults.append(Fault(where=where, what="matches no linear layer of this model"))
        faults += [
            Fault(where=where, what=f"{layer} is given two types", value=f"{found[layer]} and {kind}")
            for layer in matched
            if found.setdefault(layer, kind) != kind
        ]
    faults += [Fault(where=layer, what="is given no type") for layer in layers if layer not in found]
    if faults:
        raise InputError("the recipe's types do not fit this model's linear layers", faults=faults)
    return {layer: found[layer] for layer in layers}


def with_types(recipe: Recipe, tensor_types: Mapping[str, str]) -> Recipe:
    """`recipe` as the mix of `tensor_types`; as it is where there are none."""
    if not tensor_types:
        return recipe
    words = (*recipe.higher_precision, NAMED_WORDS)
    return recipe.model_copy(update={"tensor_types": dict(tensor_types), "higher_precision": words})


def quantized_layers(serving_format: str, tensors: Mapping[str, str]) -> dict[str, str]:
    """Layer -> type, of every quantized layer among the `tensors` of an artifact of this format."""
    return {
        name.removesuffix(".weight"): kind
        for name, kind in tensors.items()
        if kind in TYPES and TYPES[kind].format == serving_format
    }
