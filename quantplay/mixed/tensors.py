"""The weights of a transformers model under the names of the served file, each replaceable by what a type makes of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from quantplay.errors import Fault, InputError
from quantplay.mixed.served import Piece, Served

if TYPE_CHECKING:
    import torch

KEPT_BYTES = 1 << 31  # of simulated weights that are kept for the next use
SAMPLED_WEIGHTS = 1 << 18  # of a tensor: enough for its rounding error to a percent
SPLIT_ABOVE = 1 << 20  # weights from which rows are spread over threads


class Weights:
    """The model's matrices by their served names; puts simulated ones in their place and takes them out again."""

    def __init__(self, model: torch.nn.Module, served: Served, threads: int) -> None:
        """Raises InputError where the model has other matrices than the served file."""
        self.served, self.shapes, self.threads = served, dict(served.shapes), threads
        self.parameters = dict(model.named_parameters())
        self.full = {name: parameter.data for name, parameter in self.parameters.items()}
        self.pieces = served.pieces(model)
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
                "the model folder and the full-precision file do not belong together, or can't be simulated", faults=faults,
                fix="make the file from this folder again; only models with Llama's parts can be scanned",
            )  # fmt: skip
        self.tensors_in: dict[str, list[str]] = {}
        for name in self.shapes:
            for piece in self.pieces[name]:
                self.tensors_in.setdefault(piece.parameter, []).append(name)

    def original(self, name: str) -> np.ndarray:
        """Full-precision weights, float32: (rows, columns), or (experts, rows, columns)."""
        parts = [cut(self.full[piece.parameter], piece) for piece in self.pieces[name]]
        return (parts[0] if self.pieces[name][0].expert is None else np_stack(parts)).numpy()

    def simulated(self, name: str, kind: str) -> np.ndarray:
        """What the served file would hold of tensor `name` as `kind` (its fallback where rows don't fit)."""
        stored = self.served.stored(name, kind)
        key = (name, stored)
        if key not in self.made:
            self.made[key] = self.simulate(stored, self.original(name), self.served.columns(name))
            while sum(array.nbytes for array in self.made.values()) > KEPT_BYTES and len(self.made) > 1:
                self.made.popitem(last=False)
        self.made.move_to_end(key)
        return self.made[key]

    def simulate(self, stored: str, weights: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        if weights.ndim == 3 or self.threads == 1 or weights.size < SPLIT_ABOVE:
            return self.served.rounded(stored, weights, columns)
        with ThreadPoolExecutor(self.threads) as pool:  # rows are independent of each other
            cut_up = np.array_split(weights, self.threads)
            parts = pool.map(lambda part: self.served.rounded(stored, part, columns), cut_up)
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
        """Squared rounding error of `tensors` as `kind` over their squares, both weighed by the importance matrix where there is one.

        On evenly spaced rows, at most about 262,144 weights a tensor.
        """
        lost = total = 0.0
        for name in tensors:
            weights, columns = self.original(name), self.served.columns(name)
            step = max(1, prod(weights.shape) // SAMPLED_WEIGHTS)
            some = np.ascontiguousarray(weights[..., ::step, :])
            off = self.served.rounded(self.served.stored(name, kind), some, columns).astype(np.float64) - some
            scale = np.ones(1) if columns is None else columns[..., None, :].astype(np.float64)
            lost += float((scale * off**2).sum())
            total += float((scale * some.astype(np.float64) ** 2).sum())
        return lost / total if total > 0 else 0.0


def cut(data: torch.Tensor, piece: Piece) -> torch.Tensor:
    return data if piece.rows is None else data[..., piece.rows[0] : piece.rows[1], :]


def np_stack(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(list(parts))
