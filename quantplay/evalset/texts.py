"""Plain texts with ids: calibration samples and held-out text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import Fault
from quantplay.evalset.jsonl import read_lines, refuse_faults, require_unique


@dataclass(frozen=True)
class TextSample:
    """One text of a calibration or held-out set."""

    id: str
    text: str


def read_texts(path: Path) -> tuple[TextSample, ...]:
    """The samples of one JSONL file with `id` and `text`, in order. Raises InputError with every fault of the file."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    samples: list[TextSample] = []
    for line in read_lines(path, faults):
        line.keys(("id", "text"))
        name, text = line.name("id"), line.text("text")
        require_unique(line, name, seen)
        if name is not None:
            seen.setdefault(name, line.where)
        faults += line.faults
        if name is not None and text is not None:
            samples.append(TextSample(name, text))
    refuse_faults(str(path), faults)
    return tuple(samples)
