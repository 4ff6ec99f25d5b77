"""What choosing a mix has to know of a serving format: the files there can be, how large they are, and who makes and measures them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from quantplay.engines.llama_cpp import LlamaModel
from quantplay.mixed.allocate import Mix
from quantplay.records import GroupOptions, MeasuredMix, Sensitivity
from quantplay.records.mix import Origin

FEWEST_CHUNKS = 16
SHORTEST_CONTEXT = 32  # tokens


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file to make and measure."""

    name: str
    made: Mapping[str, Any]  # how, as the format's job reads it
    origin: Origin
    mix: Mix  # group -> type; empty where groups do not say it


class Mixes(Protocol):
    """The mixes of one model in one format. To add a format: a class like `GgufMixes` or `FolderMixes`."""

    @property
    def sensitivity(self) -> Sensitivity: ...

    @property
    def digest(self) -> str:
        """Of the full-precision file."""
        ...

    @property
    def importance(self) -> str | None:
        """Digest of the importance matrix."""
        ...

    @property
    def full_bytes(self) -> int: ...

    @property
    def groups(self) -> tuple[GroupOptions, ...]: ...

    @property
    def beside(self) -> int:
        """Bytes of a file that no group takes, from above."""
        ...

    @property
    def job(self) -> str:
        """Target of quantplay.process: makes, measures and deletes files."""
        ...

    def rivals(self, budget_bytes: int, count: int, short_type: str) -> list[Candidate]:
        """What there is without mixing, beside uniform types: the file that came short, and the format's own mixes."""
        ...

    def candidate(self, name: str, origin: Origin, mix: Mix) -> Candidate: ...

    def payload(self) -> dict[str, Any]:
        """What the job needs beside candidates, text, context, folder, journal and threads."""
        ...

    @staticmethod
    def types_of(groups: Sequence[GroupOptions], one: MeasuredMix) -> tuple[str, Mix]:
        """The serving type its recipe names, and its groups' types; none where the type alone says it all."""
        ...


def as_payload(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """JSON for a format's job."""
    return [json.loads(json.dumps(one.made, default=dict)) for one in candidates]


def fitting_context(reference: Path, text: str, context_tokens: int, threads: int, runtime: str = "llama.cpp") -> int:
    """`context_tokens`, halved until the text gives enough chunks for a standard error."""
    kind: Any = LlamaModel
    if runtime == "transformers":
        from quantplay.engines.transformers_logits import FolderModel as kind  # noqa: N813 - one of two classes
    with kind(reference, threads=threads, context_tokens=context_tokens) as model:
        tokens = len(model.tokenize(text))
    while tokens // context_tokens < FEWEST_CHUNKS and context_tokens >= 2 * SHORTEST_CONTEXT:
        context_tokens //= 2
    return context_tokens


def tensor_types_of(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> dict[str, str]:
    """Matrix -> the type it is stored as."""
    return {name: kind for group in groups for name, kind in group.tensors[mix[group.group]].items()}


def bytes_held(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> dict[str, int]:
    """Type -> bytes that the mix stores as it."""
    held: dict[str, int] = {}
    for group in groups:
        kind = mix[group.group]
        held[kind] = held.get(kind, 0) + next(one.stored_bytes for one in group.types if one.kind == kind)
    return held
