"""GGUF: every matrix under its GGUF name, rounded by ggml's own quantizers with the importance matrix that ships.

Some parameters hold several GGUF tensors (the gate and up projections of fused experts), some GGUF tensors are spread over
several parameters (experts kept one by one). llama.cpp's converter also reorders the rows of Llama's query and key projections;
every ggml type works row by row, so a row's place does not matter here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantplay.digest import digest_of_file
from quantplay.engines import ggml
from quantplay.engines.ggml import ABORTS_WITHOUT_IMPORTANCE, KINDS, NEEDS_IMPORTANCE, bits_per_weight
from quantplay.engines.gguf_header import read_gguf_header
from quantplay.engines.tensor_names import name_table
from quantplay.envelope.mix import fitting_type
from quantplay.errors import Fault, InputError
from quantplay.mixed.groups import Group, group_bytes, groups_of
from quantplay.mixed.served import Piece
from quantplay.quantizers.importance import ImportanceMatrix

if TYPE_CHECKING:
    import torch

EXPERT_PARTS = {
    "w1": "ffn_gate_exps", "gate_proj": "ffn_gate_exps", "w3": "ffn_up_exps", "up_proj": "ffn_up_exps",
    "w2": "ffn_down_exps", "down_proj": "ffn_down_exps",
}  # fmt: skip
FUSED_EXPERTS = re.compile(r"layers\.(\d+)\..*experts\.(gate_up_proj|gate_proj|up_proj|down_proj)$")
SINGLE_EXPERT = re.compile(r"layers\.(\d+)\..*experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$")
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


class GgmlServed:
    """A full-precision GGUF, and what its matrices become with an importance matrix or without."""

    packages = ("llama-cpp-python",)

    def __init__(self, reference: Path, matrix: ImportanceMatrix | None) -> None:
        self.reference, self.matrix = reference, matrix
        tensors = read_gguf_header(reference).tensors
        self.all_shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.bytes = {name: tensor.size_bytes for name, tensor in tensors.items()}
        self.groups = groups_of(self.all_shapes)
        self.shapes = {name: self.all_shapes[name] for group in self.groups for name in group.tensors}
        self.embedding = EMBEDDING if EMBEDDING in self.shapes else None
        self.output = self.embedding if OUTPUT not in self.all_shapes else OUTPUT if OUTPUT in self.shapes else None

    @cached_property
    def digest(self) -> str:
        return digest_of_file(self.reference)

    def model(self) -> str:
        return self.digest

    def importance(self) -> str | None:
        return self.matrix and self.matrix.digest()

    def in_order(self, kinds: Iterable[str]) -> tuple[str, ...]:
        kinds = set(kinds)
        unknown = sorted(kinds - set(KINDS))
        if unknown or not kinds:
            raise InputError(
                "these types can't be scanned", allowed=", ".join(KINDS),
                faults=[Fault(where=kind, what="is no ggml type for weights") for kind in unknown],
                value=None if kinds else "no types",
            )  # fmt: skip
        return tuple(sorted(kinds, key=lambda kind: (-bits_per_weight(kind), kind)))

    def bits(self, kind: str) -> float:
        return bits_per_weight(kind)

    def possible(self, group: Group, kind: str) -> bool:
        """Some types need an importance matrix."""
        for name in group.tensors:
            covered = self.matrix is not None and name in self.matrix.values
            if not covered and (
                kind in ABORTS_WITHOUT_IMPORTANCE or (kind in NEEDS_IMPORTANCE and group.block is not None)
            ):
                return False
        return True

    def stored(self, name: str, kind: str) -> str:
        return fitting_type(kind, self.shapes[name])

    def group_bytes(self, group: Group, kind: str) -> int:
        return group_bytes(group, kind, self.shapes)

    def full_bytes(self, group: Group) -> int:
        return sum(self.bytes[name] for name in group.tensors)

    def columns(self, name: str) -> np.ndarray | None:
        values = self.matrix.values.get(name) if self.matrix is not None else None
        shape = self.shapes[name]
        return values if values is None or len(shape) == 2 else values.reshape(shape[2], shape[0])

    def rounded(self, stored: str, weights: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        return ggml.simulated(stored, weights, columns)

    def pieces(self, model: torch.nn.Module) -> dict[str, tuple[Piece, ...]]:
        """Of every matrix of `model` that llama.cpp has a name for."""
        names = name_table(model)
        found: dict[str, list[Piece]] = {}
        for name, parameter in model.named_parameters():  # tied ones appear once
            fused, single = FUSED_EXPERTS.search(name), SINGLE_EXPERT.search(name)
            if fused and fused[2] == "gate_up_proj":
                half = parameter.shape[-2] // 2
                found[f"blk.{fused[1]}.ffn_gate_exps.weight"] = [Piece(name, (0, half))]
                found[f"blk.{fused[1]}.ffn_up_exps.weight"] = [Piece(name, (half, 2 * half))]
            elif fused:
                found[f"blk.{fused[1]}.{EXPERT_PARTS[fused[2]]}.weight"] = [Piece(name)]
            elif single:
                target = f"blk.{single[1]}.{EXPERT_PARTS[single[3]]}.weight"
                found.setdefault(target, []).append(Piece(name, expert=int(single[2])))
            elif parameter.ndim == 2:
                known = names.get_name(name, try_suffixes=(".weight",))
                if known is not None:
                    found[known] = [Piece(name)]
        return {name: tuple(pieces) for name, pieces in found.items()}
