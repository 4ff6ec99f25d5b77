"""The weights of a transformers model under their GGUF names, each replaceable by what a ggml type makes of it.

Some parameters hold several GGUF tensors (the gate and up projections of fused experts), some GGUF tensors are spread over
several parameters (experts kept one by one). llama.cpp's converter also reorders the rows of Llama's query and key projections;
every ggml type works row by row, so a row's place does not matter here.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from quantplay.engines import ggml
from quantplay.engines.tensor_names import name_table
from quantplay.envelope.mix import Shape, fitting_type
from quantplay.errors import Fault, InputError

if TYPE_CHECKING:
    import torch

EXPERT_PARTS = {
    "w1": "ffn_gate_exps", "gate_proj": "ffn_gate_exps", "w3": "ffn_up_exps", "up_proj": "ffn_up_exps",
    "w2": "ffn_down_exps", "down_proj": "ffn_down_exps",
}  # fmt: skip
FUSED_EXPERTS = re.compile(r"layers\.(\d+)\..*experts\.(gate_up_proj|gate_proj|up_proj|down_proj)$")
SINGLE_EXPERT = re.compile(r"layers\.(\d+)\..*experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$")
KEPT_BYTES = 1 << 31  # of simulated weights that are kept for the next use
SAMPLED_WEIGHTS = 1 << 18  # of a tensor: enough for its rounding error to a percent
SPLIT_ABOVE = 1 << 20  # weights from which rows are spread over threads


@dataclass(frozen=True)
class Piece:
    """Where a GGUF tensor, or a part of one, lies in the model."""

    parameter: str
    rows: tuple[int, int] | None = None  # of the parameter's second-last dimension; None: all
    expert: int | None = None  # which matrix of a 3-D GGUF tensor this 2-D parameter is


def pieces_of(model: torch.nn.Module) -> dict[str, tuple[Piece, ...]]:
    """GGUF tensor name -> where its weights are, for every matrix of `model` that llama.cpp has a name for."""
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


class Weights:
    """The model's matrices by GGUF name; puts simulated ones in their place and takes them out again."""

    def __init__(
        self, model: torch.nn.Module, shapes: Mapping[str, Shape], importance: Mapping[str, np.ndarray], threads: int
    ) -> None:
        """shapes: the GGUF tensors that may be simulated, columns first. Raises InputError where the model has others."""
        self.shapes, self.importance, self.threads = dict(shapes), importance, threads
        self.parameters = dict(model.named_parameters())
        self.full = {name: parameter.data for name, parameter in self.parameters.items()}
        self.pieces = pieces_of(model)
        self.made: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self.standing: dict[str, tuple[tuple[str, str], ...]] = {}  # parameter -> the types it has now
        faults = []
        for name, shape in self.shapes.items():
            if name not in self.pieces:
                faults.append(Fault(where=name, what="no parameter of the transformers model has this name"))
            elif self.original(name).shape[::-1] != tuple(shape):
                value = str(self.original(name).shape[::-1])
                faults.append(Fault(where=name, what="has another shape in transformers", value=value, allowed=str(shape)))  # fmt: skip
            elif not np.isfinite(self.original(name)).all():
                faults.append(Fault(where=name, what="holds weights that are NaN or infinite"))
        if faults:
            raise InputError(
                "the model folder and the full-precision GGUF do not belong together, or can't be simulated", faults=faults,
                fix="convert the GGUF from this folder again; only models with Llama's parts can be scanned",
            )  # fmt: skip
        self.tensors_in: dict[str, list[str]] = {}
        for name in self.shapes:
            for piece in self.pieces[name]:
                self.tensors_in.setdefault(piece.parameter, []).append(name)

    def original(self, name: str) -> np.ndarray:
        """Full-precision weights in GGUF's layout, float32: (rows, columns), or (experts, rows, columns)."""
        parts = [cut(self.full[piece.parameter], piece) for piece in self.pieces[name]]
        return (parts[0] if self.pieces[name][0].expert is None else np_stack(parts)).numpy()

    def simulated(self, name: str, kind: str) -> np.ndarray:
        """What the served file would hold of tensor `name` as `kind` (its fallback where rows don't fit)."""
        stored = fitting_type(kind, self.shapes[name])
        key = (name, stored)
        if key not in self.made:
            self.made[key] = self.simulate(stored, self.original(name), self.columns_of(name))
            while sum(array.nbytes for array in self.made.values()) > KEPT_BYTES and len(self.made) > 1:
                self.made.popitem(last=False)
        self.made.move_to_end(key)
        return self.made[key]

    def columns_of(self, name: str) -> np.ndarray | None:
        values = self.importance.get(name)
        shape = self.shapes[name]
        return values if values is None or len(shape) == 2 else values.reshape(shape[2], shape[0])

    def simulate(self, stored: str, weights: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        if weights.ndim == 3 or self.threads == 1 or weights.size < SPLIT_ABOVE:
            return ggml.simulated(stored, weights, columns)
        with ThreadPoolExecutor(self.threads) as pool:  # rows are independent of each other
            parts = pool.map(lambda part: ggml.simulated(stored, part, columns), np.array_split(weights, self.threads))
            return np.concatenate(list(parts))

    def put(self, tensors: Sequence[str], types: Mapping[str, str]) -> None:
        """Give each of `tensors` its type of `types`; those without one get their full precision back."""
        import torch

        for parameter in dict.fromkeys(piece.parameter for name in tensors for piece in self.pieces[name]):
            wanted = tuple((name, types[name]) for name in self.tensors_in[parameter] if name in types)
            if self.standing.get(parameter, ()) == wanted:
                continue
            self.standing[parameter] = wanted
            data = self.full[parameter].clone() if wanted else self.full[parameter]
            for name, kind in wanted:
                made = torch.from_numpy(self.simulated(name, kind))
                for piece in self.pieces[name]:
                    if piece.parameter == parameter:
                        cut(data, piece).copy_(made if piece.expert is None else made[piece.expert])
            self.parameters[parameter].data = data

    def error(self, tensors: Sequence[str], kind: str) -> float:
        """Squared rounding error of `tensors` as `kind` over their squares, both weighed by the importance matrix.

        On evenly spaced rows, at most about 262,144 weights a tensor.
        """
        lost = total = 0.0
        for name in tensors:
            weights, columns = self.original(name), self.columns_of(name)
            step = max(1, prod(weights.shape) // SAMPLED_WEIGHTS)
            some = np.ascontiguousarray(weights[..., ::step, :])
            off = ggml.simulated(fitting_type(kind, self.shapes[name]), some, columns).astype(np.float64) - some
            scale = np.ones(1) if columns is None else columns[..., None, :].astype(np.float64)
            lost += float((scale * off**2).sum())
            total += float((scale * some.astype(np.float64) ** 2).sum())
        return lost / total if total > 0 else 0.0


def cut(data: torch.Tensor, piece: Piece) -> torch.Tensor:
    return data if piece.rows is None else data[..., piece.rows[0] : piece.rows[1], :]


def np_stack(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(list(parts))
