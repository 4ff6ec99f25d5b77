"""The data of the oracle's cases: the pilot's own files, and what a team that makes a mistake would have in their place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from quantplay.digest import digest_of_bytes
from quantplay.records import FileEntry

PILOT = Path(__file__).parents[2] / "examples" / "pilot"
ITEMS = 120  # a slice: enough for a nearly lossless candidate to pass tolerances of 4 points
Row = dict[str, Any]

FILES = {
    "traffic": "calibration/traffic.jsonl", "recipes": "calibration/wrong-domain.jsonl", "sample": "traffic/sample.jsonl",
    "dev": "evaluation/dev.jsonl", "heldout": "heldout/text.jsonl", "training": "training/train.jsonl",
}  # fmt: skip
GENERAL = """
    the of and in to was is for as on with by that from at which his were are an its had also after first two their century river army song league
    species born church film island season village album railway president game war university county station band north south castle novel
    mountain painter bishop football ship museum language treaty
"""
FIRST = {"dev": 100, "sample": 256, "training": 200}


@dataclass(frozen=True)
class Asked:
    """An evaluation set: slice -> (prompt, answer)."""

    items: Mapping[str, tuple[tuple[str, str], ...]]
    scorer: str = "exact"


@cache
def rows_of(name: str) -> tuple[Row, ...]:
    """A set by name: a file of the pilot, or one made from it."""
    if name == "alike":  # tickets that differ in a number only
        plain = rows_of("traffic")[:240]
        return (*plain, *({"id": f"copy-{n}", "text": plain[n]["text"] + " " + str(n)} for n in range(16)))
    if name == "general":
        return tuple({"id": f"text-{n}", "text": general_text(n)} for n in range(256))
    lines = (PILOT / FILES[name]).read_text(encoding="utf-8").splitlines()[: FIRST.get(name)]
    return tuple(json.loads(line) for line in lines)


def general_text(number: int) -> str:
    """A text about anything, as a scraped corpus has it."""
    dice = Random(number)
    return " ".join(dice.choices(GENERAL.split(), k=dice.randint(8, 60))).capitalize() + "."


@cache
def own_tasks() -> Asked:
    """The pilot's five slices: reasoning, instructions, format, long context and edge cases."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (PILOT / "evaluation" / "gate.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        part = found.setdefault(row["slice"], [])
        if len(part) < ITEMS:
            part.append((row["prompt"], row["answer"]))
    return Asked({name: tuple(pairs) for name, pairs in found.items()})


def made_up(slices: Iterable[str], prompt: str, answer: str, scorer: str = "exact", count: int = ITEMS) -> Asked:
    """`count` items a slice, of one pattern; `{n}` and `{slice}` in `prompt` and `answer`."""
    return Asked(
        {
            name: tuple((prompt.format(n=n, slice=name), answer.format(n=n, slice=name)) for n in range(count))
            for name in slices
        },
        scorer,
    )


def jsonl(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def file_entry(path: str, content: bytes, files: dict[str, bytes]) -> FileEntry:
    """The pinned file; `files` gains its bytes under their digest."""
    sha256 = digest_of_bytes(content)
    files[sha256] = content
    return FileEntry(path=path, size_bytes=len(content), sha256=sha256)
