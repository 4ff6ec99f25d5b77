"""Volume from a CSV file: every fault at once, each with its line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path

from quantplay.adoption.served import Told
from quantplay.errors import Fault, InputError

NAMES = ("endpoint", "model")
NEEDED = ("day", "requests")
OPTIONAL = ("tokens", "package")
HEADER = "endpoint or model (or both), day, requests; tokens and package where they are known"
WHOLE = re.compile(r"[0-9]{1,15}")
MOST_FAULTS = 100


@dataclass(kw_only=True)
class Reading:
    """One file as it is read."""

    path: Path
    today: date
    faults: list[Fault] = field(default_factory=list)
    seen: dict[tuple[str, str, date, str], int] = field(default_factory=dict)  # row -> line where it was first

    def fault(self, line: int, what: str, value: str | None = None, allowed: str | None = None) -> None:
        self.faults.append(Fault(where=f"{self.path}:{line}", what=what, value=value, allowed=allowed))


def read_csv(path: Path, today: date) -> tuple[Told, ...]:
    """Rows in their order. `today`: UTC. Raises InputError with every fault (the first hundred), each with its line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8", value=f"{path}, byte {error.start}") from None
    except OSError as error:
        raise InputError("the file can't be read", value=f"{path}: {error.strerror}") from None
    reading = Reading(path=path, today=today)
    try:
        rows = tuple(read_rows(reading, text))
    except csv.Error as error:
        raise InputError("this is no CSV file", value=f"{path}: {error}", allowed=HEADER) from None
    if reading.faults:
        more = len(reading.faults) - MOST_FAULTS
        raise InputError(
            f"{path} can't be used" + (f"; the first {MOST_FAULTS} faults, and {more} more" if more > 0 else ""),
            faults=reading.faults[:MOST_FAULTS],
        )
    return rows


def read_rows(reading: Reading, text: str) -> Iterator[Told]:
    lines = csv.reader(StringIO(text, newline=""), strict=True)
    header = [cell.strip().lower() for cell in next(lines, [])]
    if not check_header(reading, header):
        return
    for cells in lines:
        line = lines.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            reading.fault(line, "has another number of columns than the first line", str(len(cells)), str(len(header)))
            continue
        told = read_row(reading, line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})
        if told is not None:
            yield told


def check_header(reading: Reading, header: list[str]) -> bool:
    unknown = [name for name in header if name not in (*NAMES, *NEEDED, *OPTIONAL)]
    missing = [name for name in NEEDED if name not in header]
    before = len(reading.faults)
    if unknown:
        reading.fault(1, "names columns that nobody knows", ", ".join(unknown), HEADER)
    if missing or not any(name in header for name in NAMES):
        reading.fault(1, "lacks columns", ", ".join(header) or "an empty line", HEADER)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        reading.fault(1, "names a column twice", ", ".join(twice))
    return len(reading.faults) == before


def read_row(reading: Reading, line: int, cells: Mapping[str, str]) -> Told | None:
    before = len(reading.faults)
    endpoint, model = cells.get("endpoint", ""), cells.get("model", "")
    if bool(endpoint) == bool(model):
        reading.fault(line, "has to name either an endpoint or a model", f"{endpoint!r} and {model!r}")
    day = read_day(reading, line, cells["day"])
    requests = read_count(reading, line, "requests", cells["requests"])
    tokens = read_count(reading, line, "tokens", cells["tokens"]) if cells.get("tokens") else None
    package = cells.get("package") or None
    if day is not None:
        key = (endpoint, model, day, package or "")
        first = reading.seen.setdefault(key, line)
        if first != line:
            reading.fault(line, f"says again what line {first} says: the same name, day and package", f"{day}")
    if day is None or requests is None or len(reading.faults) > before:
        return None
    return Told(
        name=endpoint or model, is_endpoint=bool(endpoint), day=day, requests=requests, tokens=tokens, package=package
    )


def read_day(reading: Reading, line: int, text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        reading.fault(line, "`day` is no date", text, "a day such as 2026-11-21, UTC")
        return None
    if day > reading.today:
        reading.fault(line, "`day` has not come yet", text, f"up to {reading.today}, UTC")
    return day


def read_count(reading: Reading, line: int, name: str, text: str) -> int | None:
    if WHOLE.fullmatch(text) is None:
        reading.fault(line, f"`{name}` is no whole number", text, "digits alone, such as 12500")
        return None
    return int(text)
