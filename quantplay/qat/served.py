"""Master weights and what is served of them: rounding before every step, bytes for the check after export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantplay.qat.grids import Grid, grid_of
from quantplay.qat.places import Place

if TYPE_CHECKING:
    import torch

AT_ONCE = 1 << 18  # weights a thread rounds before it looks for more


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one parameter with one grid: a piece of work for one thread."""

    parameter: str
    rows: slice | np.ndarray
    grid: Grid
    weights: int


def grids_of(
    places: Sequence[Place], serving_format: str, importance: Mapping[str, np.ndarray]
) -> dict[str, list[Grid]]:
    """Served tensor -> its grid, one an expert. importance: tensor -> mean squared inputs; a tensor without is rounded plainly."""
    found = {}
    for place in places:
        experts = 1 + max(piece.expert for piece in place.pieces)
        values = importance.get(place.tensor)
        columns = [None] * experts if values is None else list(values.reshape(experts, place.shape[0]))
        found[place.tensor] = [grid_of(serving_format, place.kind, one, place.scales) for one in columns]
    return found


def parts_of(places: Sequence[Place], grids: Mapping[str, Sequence[Grid]]) -> tuple[Part, ...]:
    """All that has to be rounded, largest first. Tensors served as F32 are left out: nothing happens to them."""
    found = []
    for place in places:
        if place.kind == "F32":
            continue
        columns = place.shape[0]
        step = max(1, AT_ONCE // columns)
        for piece in place.pieces:
            rows = np.sort(piece.rows)
            together = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
            for start in range(0, len(rows), step):
                chosen = rows[start : start + step]
                where = slice(int(chosen[0]), int(chosen[-1]) + 1) if together else chosen
                grid = grids[place.tensor][piece.expert]
                found.append(Part(parameter=piece.parameter, rows=where, grid=grid, weights=len(chosen) * columns))
    return tuple(sorted(found, key=lambda part: -part.weights))


class Served:
    """Writes what is served of the master weights into a model's parameters.

    masters: parameter -> float32, on the model's device; not changed here. The forward pass then runs on the served values, and the
    gradient that arrives at a parameter is taken for its master's: the straight-through estimator.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        masters: Mapping[str, torch.Tensor],
        parts: Sequence[Part],
        pool: ThreadPoolExecutor,
    ) -> None:
        self.parameters = dict(model.named_parameters())
        self.masters, self.parts, self.pool = masters, parts, pool

    def refresh(self) -> None:
        import torch

        with torch.no_grad():
            on_cpu = {name: weights.detach().cpu().numpy() for name, weights in self.masters.items()}
            rounded = {name: on_cpu[name].copy() for name in {part.parameter for part in self.parts}}
            # ggml lets go of Python's lock, so threads help
            list(
                self.pool.map(
                    lambda part: round_part(part, on_cpu[part.parameter], rounded[part.parameter]), self.parts
                )
            )
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(rounded[name]) if name in rounded else self.masters[name])


def round_part(part: Part, weights: np.ndarray, out: np.ndarray) -> None:
    columns = weights.shape[-1]
    rows = weights.reshape(-1, columns)[part.rows]
    out.reshape(-1, columns)[part.rows] = part.grid.values(part.grid.codes(rows), columns)


def codes_of(place: Place, grids: Sequence[Grid], parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """The bytes of one served tensor, uint8 (rows, bytes of a row), in the served order."""
    columns = place.shape[0]
    pieces = [
        grids[piece.expert].codes(np.ascontiguousarray(parameters[piece.parameter].reshape(-1, columns)[piece.rows]))
        for piece in place.pieces
    ]
    return np.concatenate(pieces)
