"""How the layers of a saved folder are stored, read from the headers of its safetensors files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import Fault, IntegrityError
from quantplay.evalset.weights import Tensor, read_header
from quantplay.formats import TYPES
from quantplay.quantizers.layer_types import FULL

WIDE = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Full precision: name in a safetensors header -> torch's."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a quantized layer looks like in the saved safetensors files: end of the tensor's name -> its dtype."""

    parts: dict[str, str]  # "*" is any of WIDE
    per_word: int = 0  # weights in one of the int32 of `weight_packed`; 0: there is no such part


IN_FULL = Stored(parts={"weight": "*"})


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's safetensors files."""
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in read_header(path).items()}


def require_stored(types: Mapping[str, str], saved: Mapping[str, Tensor], stored: Mapping[str, Stored]) -> None:
    """Raise IntegrityError naming every layer that was not saved as its type. types: layer -> type."""
    faults = list(stored_faults(types, saved, stored))
    if faults:
        wanted = " or ".join(sorted({kind for kind in types.values() if kind != FULL}))
        raise IntegrityError(
            f"{len(faults)} of {len(types)} layers are not stored as {wanted}", faults=faults,
            fix="choose another type for this architecture, or a GGUF type",
        )  # fmt: skip


def stored_faults(
    types: Mapping[str, str], saved: Mapping[str, Tensor], stored: Mapping[str, Stored]
) -> Iterator[Fault]:
    """One fault a layer that is not saved as its type: other parts, other dtypes, or another number of bits."""
    for layer, kind in types.items():
        wanted = IN_FULL if kind == FULL else stored[kind]
        found = {
            part: saved[f"{layer}.{part}"].dtype if f"{layer}.{part}" in saved else "missing" for part in wanted.parts
        }
        if any(found[part] not in (WIDE if dtype == "*" else (dtype,)) for part, dtype in wanted.parts.items()):
            yield Fault(
                where=layer, what=f"is not stored as {kind}", value=text_of(found), allowed=text_of(wanted.parts)
            )
        elif wanted.per_word:
            words = saved[f"{layer}.weight_packed"].shape[1]
            columns = saved[f"{layer}.weight_scale"].shape[1] * TYPES[kind].group_size
            if words * wanted.per_word != columns:
                yield Fault(
                    where=layer, what=f"is not stored as {kind}", value=f"{words} words for {columns} weights a row",
                    allowed=f"{columns // wanted.per_word} words",
                )  # fmt: skip


def text_of(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in parts.items())


def kinds(types: Mapping[str, str], saved: Mapping[str, Tensor]) -> dict[str, str]:
    """Tensor -> how it is stored: a quantized layer's type, the dtype for all others. types: layer -> type."""
    quantized = {layer: kind for layer, kind in types.items() if kind != FULL}
    found = {f"{layer}.weight": kind for layer, kind in quantized.items()}
    found |= {name: tensor.dtype for name, tensor in saved.items() if name.rpartition(".")[0] not in quantized}
    # a layer's bias is stored beside its parts, at full precision
    found |= {name: saved[name].dtype for layer in quantized if (name := f"{layer}.bias") in saved}
    return dict(sorted(found.items()))
