"""Where each served tensor's rows lie among the model's parameters.

A converter stacks experts, splits or joins matrices and reorders the rows of query and key. Because a grid rounds every row for
itself, all of that can be read off the full-precision pair: a row of the GGUF file is the row of the parameter with the same
numbers. So training rounds parameters as they are, and export knows which bytes belong where, without a rule an architecture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantplay.envelope.mix import Shape
from quantplay.errors import Fault, InputError

Rows = dict[bytes, list[tuple[str, int]]]
"""Digest of a row's bytes -> the parameters and rows that hold it: the bytes themselves would be the weights once more."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows of one parameter, in the served order."""

    parameter: str
    rows: np.ndarray  # int64 (rows,): numbers of the parameter's rows, all dimensions but the last taken together
    expert: int  # which expert of the served tensor they belong to; 0 in a matrix


@dataclass(frozen=True, kw_only=True)
class Place:
    """One served tensor."""

    tensor: str  # name in the served file
    kind: str  # how it is stored there
    shape: Shape  # columns first
    pieces: tuple[Piece, ...]  # one after another they are its rows
    scales: str = "F32"  # width of its scales, in a format where that is the source's


def places_of(
    reference: Path, kinds: Mapping[str, str], parameters: Mapping[str, np.ndarray], names: Mapping[str, str]
) -> tuple[Place, ...]:
    """A place for every matrix of `kinds`, in the file's order, and for every vector that the converter leaves as it is.

    reference: full-precision GGUF of the model. kinds: GGUF tensor -> served type. parameters: name -> float32 weights of the very
    same model. names: parameter -> GGUF name where llama.cpp knows one; it settles which of two equal parameters is meant. Raises
    InputError where a row is in no parameter, or one parameter would have to be rounded to two types at once.
    """
    import gguf

    found, faults, vectors = [], [], set()
    rows_of: dict[int, Rows] = {}
    by_tensor = {tensor: parameter for parameter, tensor in names.items()}
    for stored in gguf.GGUFReader(reference).tensors:
        shape: Shape = tuple(int(size) for size in stored.shape)
        if stored.name not in kinds:
            continue
        data = np.asarray(stored.data, dtype=np.float32).reshape(-1, stored.shape[0])
        columns, experts = int(shape[0]), int(shape[2]) if len(shape) > 2 else 1
        pieces = same(data, by_tensor.get(stored.name), parameters, experts)
        if pieces is None and len(shape) < 2:
            vectors.add(stored.name)
            continue
        if pieces is None:
            if columns not in rows_of:
                rows_of[columns] = index_of(parameters, columns)
            pieces = looked_up(data, rows_of[columns], experts)
        if pieces is None:
            faults.append(Fault(where=stored.name, what="its rows are in no parameter of the model"))
            continue
        found.append(Place(tensor=stored.name, kind=kinds[stored.name], shape=shape, pieces=pieces))
    faults += rounded_twice(found)
    if missing := kinds.keys() - {place.tensor for place in found} - {fault.where for fault in faults} - vectors:
        faults += [Fault(where=name, what="is not in the full-precision file") for name in sorted(missing)]
    if faults:
        raise InputError(
            "this model can't be trained for its served types", faults=faults,
            allowed="a model whose converter moves rows and changes none",
        )  # fmt: skip
    return tuple(found)


def same(
    data: np.ndarray, parameter: str | None, parameters: Mapping[str, np.ndarray], experts: int
) -> tuple[Piece, ...] | None:
    """The whole of one parameter, row by row as it is: the common case."""
    if parameter is None or parameter not in parameters:
        return None
    weights = parameters[parameter]
    if weights.size != data.size or not np.array_equal(weights.reshape(-1, data.shape[1]), data):
        return None
    count = len(data) // experts
    return tuple(
        Piece(parameter=parameter, rows=np.arange(expert * count, (expert + 1) * count), expert=expert)
        for expert in range(experts)
    )


def index_of(parameters: Mapping[str, np.ndarray], columns: int) -> Rows:
    """Every row of `columns` numbers of every matrix."""
    index: Rows = {}
    for name, weights in parameters.items():
        if weights.ndim > 1 and weights.shape[-1] == columns:
            for number, row in enumerate(np.ascontiguousarray(weights).reshape(-1, columns)):
                index.setdefault(digest_of_row(row), []).append((name, number))
    return index


def digest_of_row(row: np.ndarray) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=20).digest()


def looked_up(data: np.ndarray, index: Rows, experts: int) -> tuple[Piece, ...] | None:
    """Row by row. Equal rows are given out in their order, those of the parameter last used first."""
    pieces: list[Piece] = []
    count = len(data) // experts
    for expert in range(experts):
        taken: list[tuple[str, int]] = []
        for row in data[expert * count : (expert + 1) * count]:
            holders = index.get(digest_of_row(row))
            if not holders:
                return None
            nearest = next((holder for holder in holders if taken and holder[0] == taken[-1][0]), holders[0])
            holders.remove(nearest)
            taken.append(nearest)
        for parameter, rows in runs(taken):
            pieces.append(Piece(parameter=parameter, rows=np.asarray(rows), expert=expert))
    return tuple(pieces)


def runs(taken: list[tuple[str, int]]) -> Iterator[tuple[str, list[int]]]:
    start = 0
    for end in range(1, len(taken) + 1):
        if end == len(taken) or taken[end][0] != taken[start][0]:
            yield taken[start][0], [row for _, row in taken[start:end]]
            start = end


def rounded_twice(places: list[Place]) -> Iterator[Fault]:
    """Parameters that two served tensors hold, such as a tied embedding a converter writes out a second time."""
    owner: dict[str, dict[int, Place]] = {}
    for place in places:
        for piece in place.pieces:
            rows = owner.setdefault(piece.parameter, {})
            other = next((rows[row] for row in piece.rows.tolist() if row in rows), None)
            rows.update(dict.fromkeys(piece.rows.tolist(), place))
            if other is not None and other.kind != place.kind:
                yield Fault(
                    where=place.tensor, what=f"shares its weights with {other.tensor}", value=f"{place.kind} and {other.kind}",
                    allowed="one type for both",
                )  # fmt: skip
