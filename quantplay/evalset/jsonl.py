"""JSON Lines, strictly: one object a line, every fault with file and line, never an exception of Python's own."""

from __future__ import annotations

import difflib
import json
import math
import re
import reprlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from quantplay.errors import Fault, InputError

MAX_LINE_BYTES = 1 << 20
MAX_ID_LENGTH = 200
ONE_OBJECT = 'one JSON object a line, such as {"id": "a-1", ...}'
BOM = b"\xef\xbb\xbf"
OTHER_FORMATS = {
    b"\x1f\x8b": ("is compressed (gzip)", "unpack it: gunzip"),
    b"PK\x03\x04": ("is a zip archive", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("is compressed (zstd)", "unpack it: unzstd"),
    b"PAR1": ("is a Parquet file", "write it as JSON Lines, one object a line"),
    b"\xff\xfe": ("is UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("is UTF-16", "save it as UTF-8"),
}
"""First bytes of what is often given instead of JSON Lines -> what it is, what to do."""

# C0 and C1 control characters and DEL; a text may hold tab and newline, a name none of them.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")


OUTER_PARTS = reprlib.Repr()
"""A bounded form of any value, however large, deep or circular it is."""
OUTER_PARTS.maxlevel, OUTER_PARTS.maxdict, OUTER_PARTS.maxlist = 3, 8, 8
OUTER_PARTS.maxstring = OUTER_PARTS.maxlong = OUTER_PARTS.maxother = 120


class RefusedError(ValueError):
    """A JSON text that Python's parser would take and we don't."""


@dataclass
class Line:
    """One parsed line and the faults found in it so far."""

    where: str  # file:line
    body: dict[str, Any]
    faults: list[Fault] = field(default_factory=list)

    def fault(self, what: str, *, value: object = None, allowed: str | None = None, fix: str | None = None) -> None:
        shown = None if value is None else printable(value)
        self.faults.append(Fault(where=self.where, what=what, value=shown, allowed=allowed, fix=fix))

    def keys(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Fault every missing and every unknown key."""
        known = [*required, *optional]
        for key in required:
            if key not in self.body:
                self.fault(f"the key `{key}` is missing", fix=f'add "{key}"')
        for key in self.body:
            if key not in known:
                near = difflib.get_close_matches(key[:100], known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else "remove it"
                self.fault("unknown key", value=key, allowed=", ".join(known), fix=hint)

    def name(self, key: str, default: str | None = None) -> str | None:
        """A short label: non-empty, one line, no spaces around it. None when it is faulty or absent without default."""
        if key not in self.body:
            return default
        value = self.body[key]
        if not isinstance(value, str):
            self.fault(f"`{key}` is no text", value=value, allowed="a JSON string")
        elif not value.strip():
            self.fault(f"`{key}` is empty", allowed="a name, one line of text")
        elif value != value.strip():
            self.fault(f"`{key}` starts or ends with a space", value=value, fix="remove the space")
        elif len(value) > MAX_ID_LENGTH:
            self.fault(f"`{key}` is too long", value=f"{len(value)} characters", allowed=f"up to {MAX_ID_LENGTH}")
        elif CONTROL.search(value) or SURROGATE.search(value):
            self.fault(f"`{key}` holds a control character or half a surrogate pair", value=value, fix="remove it")
        else:
            return value
        return None

    def text(self, key: str) -> str | None:
        """A text that is not blank; tab and newline are its only control characters. None when faulty or absent."""
        if key not in self.body:
            return None
        value = self.body[key]
        if not isinstance(value, str):
            self.fault(f"`{key}` is no text", value=value, allowed="a JSON string")
        elif not value.strip():
            self.fault(f"`{key}` is empty", allowed="a text that is not blank")
        elif found := CONTROL_IN_TEXT.search(value):
            self.fault(
                f"`{key}` holds a control character",
                value=f"U+{ord(found[0]):04X} at character {found.start()}",
                allowed="tab and newline",
            )
        elif SURROGATE.search(value):
            self.fault(
                f"`{key}` holds half a surrogate pair, which is no Unicode text", fix="remove it, or write both halves"
            )
        else:
            return value
        return None


def printable(value: object) -> str:
    """`value` as one may print it on any terminal; of a large value only the outer parts."""
    text = value if isinstance(value, str) else OUTER_PARTS.repr(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:400])


def read_lines(path: Path, faults: list[Fault]) -> Iterator[Line]:
    """Every line of `path` that is a JSON object; what is not goes to `faults`.

    Raises InputError when the file can't be opened.
    """
    count = 0
    for number, raw in raw_lines(path):
        count += 1
        where = f"{path}:{number}"
        if number == 1 and raw and (other := next((name for name in OTHER_FORMATS if raw.startswith(name)), None)):
            what, fix = OTHER_FORMATS[other]
            faults.append(Fault(where=str(path), what=f"the file {what}", allowed="JSON Lines as plain UTF-8", fix=fix))
            return
        if raw is None:
            faults.append(Fault(where=where, what="the line is too long", allowed="up to 1 MiB a line"))
            continue
        try:
            body = parse(raw)
        except UnicodeDecodeError as error:
            what = f"byte {error.start + 1} of the line is no UTF-8"
            shown = raw[error.start : error.start + 4].hex(" ")
            faults.append(Fault(where=where, what=what, value=shown, allowed="UTF-8", fix="save the file as UTF-8"))
        except RecursionError:
            faults.append(Fault(where=where, what="the JSON is nested too deep", allowed=ONE_OBJECT))
        except ValueError as error:  # RefusedError, JSONDecodeError and Python's limit on the digits of an integer
            faults.append(Fault(where=where, what=f"no valid JSON: {printable(str(error))}", allowed=ONE_OBJECT))
        else:
            if isinstance(body, dict):
                yield Line(where=where, body=body)
            else:
                what = "the line is no JSON object"
                faults.append(Fault(where=where, what=what, value=printable(body), allowed=ONE_OBJECT))
    if count == 0:
        faults.append(Fault(where=str(path), what="the file is empty", allowed=ONE_OBJECT))


def raw_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of each line; None for a line over the limit, which is skipped without holding it."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                too_long = len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n")
                while too_long and raw and not raw.endswith(b"\n"):
                    raw = file.readline(MAX_LINE_BYTES)
                yield number, None if too_long else raw
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise cannot_read(path, error) from error


def require_regular(path: Path) -> None:
    """Raise OSError for a pipe or a device, which could make a reader wait or read for ever."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder has an error of its own when it is opened
        raise OSError("it is a pipe or a device, and only a file can be pinned by its content")


def cannot_read(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    elif isinstance(error, IsADirectoryError):
        reason = "it is a folder"
    return InputError(
        f"can't read {printable(str(path))}: {reason}", fix="check the path; in a plan it starts at the plan's folder"
    )


def parse(raw: bytes) -> Any:
    """JSON of one line. Refuses what JSON parsers read differently: NaN, infinities, overflows, keys given twice."""
    if raw.startswith(BOM):
        raise RefusedError("the file starts with a byte order mark; save it as UTF-8 without one")
    text = raw.decode("utf-8")
    if not text.strip():
        raise RefusedError("the line is blank")
    return json.loads(text, parse_constant=refuse_constant, parse_float=finite_float, object_pairs_hook=no_duplicates)


def refuse_constant(name: str) -> NoReturn:
    raise RefusedError(f"{name} is no JSON number")


def finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RefusedError(f"the number {text[:40]} is too large")
    return value


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for key, value in pairs:
        if key in body:
            raise RefusedError(f"the key {key[:40]!r} is given twice")
        body[key] = value
    return body


def require_unique(line: Line, name: str | None, seen: Mapping[str, str]) -> None:
    """Fault a name that an earlier line has; `seen` maps names to where they stood."""
    if name is not None and name in seen:
        line.fault("the id is used twice", value=name, allowed=f"unique ids; it is also at {seen[name]}")


def refuse_faults(what: str, faults: Sequence[Fault]) -> None:
    """Raise InputError with all faults, if there are any."""
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InputError(f"{what} can't be used: {count}", faults=faults)
