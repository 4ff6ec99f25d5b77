"""What a scan has to know of a serving format: which matrices there are, what each type makes of them, and how many bytes it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from quantplay.envelope.mix import Shape
from quantplay.mixed.groups import Group

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Piece:
    """Where a matrix of the served file, or a part of one, lies in the model."""

    parameter: str
    rows: tuple[int, int] | None = None  # of the parameter's second-last dimension; None: all
    expert: int | None = None  # which matrix of a 3-D tensor this 2-D parameter is


class Served(Protocol):
    """One model in one format. To add a format: a class like `GgmlServed` or `FolderServed`, and its line in `SERVED` of sensitivity.py."""

    @property
    def packages(self) -> tuple[str, ...]:
        """That round, beside those that run the model."""
        ...

    @property
    def groups(self) -> tuple[Group, ...]: ...

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Of every matrix of the groups, columns first."""
        ...

    @property
    def embedding(self) -> str | None:
        """Name of the embedding, where it is in a group."""
        ...

    @property
    def output(self) -> str | None:
        """Name of the output matrix, where it is in a group; the embedding's where both are one."""
        ...

    def model(self) -> str:
        """Digest of the full-precision file."""
        ...

    def importance(self) -> str | None:
        """Digest of what weighs the columns."""
        ...

    def in_order(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """The types once each, the most bits first, ties by name. Raises InputError on those the format has not, or on none."""
        ...

    def bits(self, kind: str) -> float: ...

    def possible(self, group: Group, kind: str) -> bool:
        """Whether this group can be stored so."""
        ...

    def stored(self, name: str, kind: str) -> str:
        """The type a matrix really gets where its group is given `kind`."""
        ...

    def group_bytes(self, group: Group, kind: str) -> int:
        """Of its matrices in the served file, scales included."""
        ...

    def full_bytes(self, group: Group) -> int:
        """Of its matrices in the full-precision file."""
        ...

    def pieces(self, model: torch.nn.Module) -> dict[str, tuple[Piece, ...]]:
        """Matrix -> where it lies in the model."""
        ...

    def columns(self, name: str) -> np.ndarray | None:
        """What weighs the columns of a matrix, (columns,) or (experts, columns); None: all alike."""
        ...

    def rounded(self, stored: str, weights: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        """What the served file would hold of some rows, float32 of the same shape."""
        ...
