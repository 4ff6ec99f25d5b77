"""Groups: tensors that get one type together, because the runtime reads them together.

The query, key and value projections multiply the same input, as do the gate and up projections of the feed-forward part, and a
runtime that fuses them stores them as one matrix. Names and shapes are those of GGUF.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from quantplay.envelope.mix import Shape, fitting_type, is_meant_to_be_quantized, stored_bytes
from quantplay.errors import InputError

PARTS: dict[str, str] = {
    "attn_q": "qkv", "attn_k": "qkv", "attn_v": "qkv", "attn_qkv": "qkv",
    "attn_output": "attn_output",
    "ffn_gate": "gate_up", "ffn_up": "gate_up", "ffn_gate_up": "gate_up",
    "ffn_down": "down",
    "ffn_gate_exps": "experts_gate_up", "ffn_up_exps": "experts_gate_up", "ffn_gate_up_exps": "experts_gate_up",
    "ffn_down_exps": "experts_down",
    "ffn_gate_shexp": "shared_gate_up", "ffn_up_shexp": "shared_gate_up",
    "ffn_down_shexp": "shared_down",
}  # fmt: skip
"""Matrix of a block, in GGUF's words -> its group. A matrix that is not listed is a group of its own."""
ORDER = tuple(dict.fromkeys(PARTS.values()))
OUTSIDE = {"token_embd.weight": "embedding", "output.weight": "output"}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tensors that get one type together."""

    name: str  # blk.3.qkv, blk.3.experts_down, embedding, output
    tensors: tuple[str, ...]  # GGUF names, sorted
    block: int | None  # None: outside the blocks
    weights: int  # of all its tensors


def groups_of(shapes: Mapping[str, Shape]) -> tuple[Group, ...]:
    """The groups of a model: the embedding, the blocks in order, the output.

    shapes: GGUF tensor name -> columns first, for every tensor of the full-precision file; what llama.cpp never quantizes (norms,
    biases, expert gates) is left out. Where the output matrix is the embedding there is one group, `embedding`. Raises InputError
    where nothing can be quantized.
    """
    meant = {name: shape for name, shape in shapes.items() if is_meant_to_be_quantized(name, shape)}
    if not meant:
        raise InputError("no tensor of this file can be quantized", allowed="a full-precision GGUF of a language model")
    return blocks_in_order(meant, place)


def blocks_in_order(shapes: Mapping[str, Shape], place: Callable[[str], tuple[int, int, str]]) -> tuple[Group, ...]:
    """The groups that `place` puts the matrices of `shapes` into, in its order."""
    members: dict[tuple[int, int, str], list[str]] = {}
    for name in shapes:
        members.setdefault(place(name), []).append(name)
    return tuple(
        Group(
            name=label,
            tensors=tuple(sorted(names)),
            block=int(label.split(".")[1]) if label.startswith("blk.") else None,
            weights=sum(prod(shapes[name]) for name in names),
        )
        for (_, _, label), names in sorted(members.items())
    )


def place(name: str) -> tuple[int, int, str]:
    """Where the tensor's group stands among all groups, and the group's name."""
    found = re.fullmatch(r"blk\.(\d+)\.(.+)\.weight", name)
    if found:
        part = PARTS.get(found[2], found[2])
        return int(found[1]), ORDER.index(part) if part in ORDER else len(ORDER), f"blk.{found[1]}.{part}"
    label = OUTSIDE.get(name, name.removesuffix(".weight"))
    return (-1 if label == "embedding" else 1 << 30), 0, label


def group_types(group: Group, kind: str, shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Tensor -> the ggml type it is stored as when its group is given `kind`: llama.cpp falls back where rows don't fit."""
    return {name: fitting_type(kind, shapes[name]) for name in group.tensors}


def group_bytes(group: Group, kind: str, shapes: Mapping[str, Shape]) -> int:
    """Bytes of the group's tensors in the file, scales and fallbacks included; padding between tensors is not."""
    return sum(stored_bytes(stored, shapes[name]) for name, stored in group_types(group, kind, shapes).items())
