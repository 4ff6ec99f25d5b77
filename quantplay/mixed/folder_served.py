"""Folders of compressed-tensors: every linear layer under its own name, rounded to nearest on the grid it is served on.

GPTQ makes the files that ship, and rounds better than to nearest: it lets a row's later weights make up for its earlier ones. To
nearest is what a scan takes all the same. It needs no calibration text, so that no text it is measured on has been seen, it is the
same for a short artifact of any method, and what GPTQ wins is in the mixes that are made and measured, which correct the scan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantplay.digest import digest_of_file
from quantplay.envelope.packed import linear_bytes
from quantplay.errors import Fault, InputError
from quantplay.evalset.weights import BITS, read_header
from quantplay.formats import TYPES
from quantplay.mixed.groups import Group, blocks_in_order
from quantplay.mixed.served import Piece
from quantplay.quantizers.folder import stored_dtype
from quantplay.quantizers.integer_groups import rounded
from quantplay.quantizers.layer_types import MIXED
from quantplay.quantizers.stored_layers import WIDE

if TYPE_CHECKING:
    import torch

FORMAT = "compressed-tensors"
PARTS: dict[str, str] = {
    "q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "qkv_proj": "qkv", "q_a_proj": "qkv", "kv_a_proj_with_mqa": "qkv",
    "o_proj": "attn_output",
    "gate_proj": "gate_up", "up_proj": "gate_up", "gate_up_proj": "gate_up",
    "down_proj": "down",
}  # fmt: skip
"""Last word of a layer's name -> its group: what servers fuse into one matrix. A layer that is not listed is a group of its own."""
ORDER = (*dict.fromkeys(PARTS.values()), "experts", "shared_gate_up", "shared_down")
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")


def place(layer: str) -> tuple[int, int, str]:
    """Where the layer's group stands among all groups, and the group's name: those of GGUF, blk.3.qkv and so on.

    A server runs all experts of a block in one kernel of one type, gate, up and down: they are one group.
    """
    found = LAYER.search(layer)
    if found is None:
        return 1 << 30, 0, layer
    part = PARTS.get(found[2].rpartition(".")[2], found[2])
    if ".experts." in layer:
        part = "experts"
    elif "shared_expert" in layer and part in ("gate_up", "down"):
        part = f"shared_{part}"
    return int(found[1]), ORDER.index(part) if part in ORDER else len(ORDER), f"blk.{found[1]}.{part}"


class FolderServed:
    """A model folder, and what its linear layers become."""

    packages = ("numpy",)
    embedding = output = None  # they stay as they are

    def __init__(self, model_folder: Path, reference: Path, layers: Sequence[str]) -> None:
        """reference: the same as one file. layers: names of all that is quantized. Raises InputError where the folder lacks one."""
        self.reference = reference
        headers = {
            name: tensor for path in sorted(model_folder.glob("*.safetensors")) for name, tensor in read_header(path).items()
        }  # fmt: skip
        missing = [
            Fault(where=layer, what="is not in the model's files")
            for layer in layers
            if f"{layer}.weight" not in headers
        ]
        if missing:
            raise InputError(
                "the artifact's layers have other names than the model's, so it can't be scanned", faults=missing
            )
        self.shapes = {layer: headers[f"{layer}.weight"].shape[::-1] for layer in layers}
        dtype = stored_dtype(model_folder)
        self.width = next(BITS[name] // 8 for name, torch_name in WIDE.items() if torch_name == dtype)
        self.groups = blocks_in_order(self.shapes, place)

    @cached_property
    def digest(self) -> str:
        return digest_of_file(self.reference)

    def model(self) -> str:
        return self.digest

    def importance(self) -> str | None:
        return None

    def in_order(self, kinds: Iterable[str]) -> tuple[str, ...]:
        kinds = set(kinds)
        unknown = sorted(kinds - set(MIXED[FORMAT]))
        if unknown or not kinds:
            raise InputError(
                "these types can't be scanned", allowed=", ".join(MIXED[FORMAT]),
                faults=[Fault(where=kind, what="is no type that layers of a mix can have") for kind in unknown],
                value=None if kinds else "no types",
            )  # fmt: skip
        return tuple(kind for kind in MIXED[FORMAT] if kind in kinds)

    def bits(self, kind: str) -> float:
        return TYPES[kind].bits_per_weight

    def possible(self, group: Group, kind: str) -> bool:
        return True

    def stored(self, name: str, kind: str) -> str:
        return kind

    def layer_bytes(self, layer: str, kind: str) -> int:
        """Of one layer's tensors in the safetensors files: packed integers, scales, shape."""
        return linear_bytes(self.shapes[layer], kind, TYPES[kind], self.width)

    def group_bytes(self, group: Group, kind: str) -> int:
        return sum(self.layer_bytes(layer, kind) for layer in group.tensors)

    def full_bytes(self, group: Group) -> int:
        return sum(self.width * prod(self.shapes[layer]) for layer in group.tensors)

    def columns(self, name: str) -> np.ndarray | None:
        return None

    def rounded(self, stored: str, weights: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        kind = TYPES[stored]
        return rounded(weights, bits=kind.nominal_bits, group=kind.group_size)

    def pieces(self, model: torch.nn.Module) -> dict[str, tuple[Piece, ...]]:
        names = dict(model.named_parameters())
        return {layer: (Piece(f"{layer}.weight"),) for layer in self.shapes if f"{layer}.weight" in names}
