"""YAML text to plain values with the line of every key and value.

Stricter than YAML on purpose, because a plan decides: scalars follow the YAML 1.2 core schema (`no` is a word, not
False), a key may stand once, and anchors, tags and further documents are refused. Faults are collected; only broken
syntax ends the reading early.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from quantplay.errors import Fault

MAX_BYTES = 128 * 1024
MAX_DEPTH = 12
Place = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

INT = re.compile(r"[-+]?[0-9]{1,18}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
NOT_FINITE = re.compile(r"[-+]?\.?(inf|nan|infinity)", re.IGNORECASE)
CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")  # one character, as JSON escapes what lies above U+FFFF
UNUSABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a file says: values, where each stands, and what is wrong with it."""

    value: Any  # dict | list | str | int | float | bool | None
    lines: dict[Place, int]  # 1-based; of the key for entries of a mapping
    texts: dict[Place, str]  # scalars as they were written; quoted ones in double quotes
    faults: tuple[Fault, ...]


class UnreadableError(Exception):
    """The reading can't go on."""


@dataclass
class Builder:
    where: str
    events: Iterator[yaml.Event]
    lines: dict[Place, int] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, line: int, what: str, **more: str | None) -> None:
        self.faults.append(Fault(where=f"{self.where}:{line}", what=what, **more))

    def value(self, event: yaml.Event, path: Place, depth: int) -> Any:
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            self.fault(
                line, "an alias repeats another part of the file", value=f"*{event.anchor}",
                fix="write the value out; a plan is read by people who sign it",
            )  # fmt: skip
            return None
        assert isinstance(event, yaml.NodeEvent)
        self.refuse_extras(event, line)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path, line)
        if depth > MAX_DEPTH:
            self.fault(line, "is nested too deeply", allowed=f"at most {MAX_DEPTH} levels")
            raise UnreadableError
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path, depth)
        return self.mapping(path, depth)

    def refuse_extras(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            self.fault(line, "an anchor names a part of the file", value=f"&{event.anchor}", fix="remove the anchor")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self.fault(
                line, "a YAML tag asks for a special type", value=tag, fix="remove the tag; a plan is plain data"
            )

    def sequence(self, path: Place, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self.value(event, (*path, len(values)), depth + 1))
        return values

    def mapping(self, path: Place, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                self.fault(line, "a key is not a word", allowed="plain words as keys, such as `name: value`")
                self.value(event, (*path, ""), depth + 1)
                self.value(next(self.events), (*path, ""), depth + 1)
                continue
            self.refuse_extras(event, line)
            key = event.value
            if UNUSABLE.search(key):
                self.fault(line, "a key holds control characters", value=ascii(key), fix="remove them")
                key = UNUSABLE.sub("?", key)
            if key in first:
                self.fault(
                    line, f"key `{dotted((*path, key))}` stands twice; the first is in line {first[key]}", value=key,
                    fix="keep one of the two",
                )  # fmt: skip
                # Read on in a place of its own, so that the first value is the one that is checked further.
                self.value(next(self.events), (*path, key, "again"), depth + 1)
                continue
            first[key] = self.lines[(*path, key)] = line
            values[key] = self.value(next(self.events), (*path, key), depth + 1)
        return values

    def scalar(self, event: yaml.ScalarEvent, path: Place, line: int) -> Any:
        text: str = PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), event.value)
        self.texts[path] = text if event.implicit[0] else f'"{text}"'
        if found := UNUSABLE.search(text):
            self.fault(line, f"{dotted(path)}: holds a control character", value=ascii(found[0]), fix="remove it")
            return UNUSABLE.sub("?", text)
        if not event.implicit[0]:  # quoted, or a block
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        if NOT_FINITE.fullmatch(text) and text.lower().lstrip("+-").startswith("."):
            self.fault(line, f"{dotted(path)}: is not a finite number", value=text, allowed="a finite number")
            return None
        if INT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
            return int(text)
        if FLOAT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                self.fault(line, f"{dotted(path)}: is too large a number", value=text, allowed="a finite number")
                return None
            return number
        return text


def dotted(path: Place) -> str:
    """`gate.slices.json.max_drop`, `envelope.types[2]`."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the plan"


def read_tree(path: Path, where: str | None = None) -> Tree:
    """Read the file; never raises for what the file holds.

    `value` is None where nothing could be read; then there is at least one fault.
    """
    where = where or str(path)
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a pipe could wait for ever
            return broken(where, Fault(
                where=where, what="is a pipe or a device", allowed="a YAML file", fix="save the plan to a file",
            ))  # fmt: skip
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return broken(where, unopened(path, where, error))
    if len(raw) > MAX_BYTES:
        return broken(where, Fault(
            where=where, what="is too large for a plan", value=f"more than {MAX_BYTES} bytes",
            allowed=f"at most {MAX_BYTES} bytes", fix="name the plan file, not a data file",
        ))  # fmt: skip
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return broken(where, Fault(where=f"{where}:1", what="is UTF-16", allowed="UTF-8", fix="save it as UTF-8"))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return broken(where, Fault(
            where=f"{where}:{line}", what="is not UTF-8", value=f"byte 0x{raw[error.start]:02x}", allowed="UTF-8",
            fix="save the file as UTF-8",
        ))  # fmt: skip
    return parse(text, where)


def unopened(path: Path, where: str, error: Exception) -> Fault:
    if isinstance(error, FileNotFoundError):
        return Fault(
            where=where, what="there is no such file", fix="`quantplay init FOLDER` writes a plan to start from"
        )
    if isinstance(error, IsADirectoryError):
        inside = sorted(entry.name for entry in path.glob("*.y*ml"))[:4]
        return Fault(
            where=where,
            what="is a folder",
            allowed="a YAML file",
            fix=f"name one of {', '.join(inside)}" if inside else None,
        )
    return Fault(
        where=where, what=f"can't be read: {getattr(error, 'strerror', None) or error}", allowed="a YAML file",
        fix="check the path, and that you may read the file",
    )  # fmt: skip


def broken(where: str, *faults: Fault) -> Tree:
    return Tree(value=None, lines={(): 1}, texts={}, faults=faults)


def parse(text: str, where: str) -> Tree:
    """Values, lines and faults of YAML text."""
    builder = Builder(where, yaml.parse(text, Loader=yaml.SafeLoader))
    value: Any = None
    try:
        next(builder.events)  # stream start
        event = next(builder.events)
        if isinstance(event, yaml.StreamEndEvent):
            return broken(where, Fault(
                where=f"{where}:1", what="is empty", fix="`quantplay init FOLDER` writes a plan to start from"
            ))  # fmt: skip
        value = builder.value(next(builder.events), (), 1)
        next(builder.events)  # document end
        event = next(builder.events)
        if not isinstance(event, yaml.StreamEndEvent):
            builder.fault(
                event.start_mark.line + 1, "a second document starts here", value="---",
                fix="keep one plan a file: remove the `---` line and what follows, or move it to a file of its own",
            )  # fmt: skip
    except yaml.MarkedYAMLError as error:
        builder.faults += syntax_faults(text, where, error)
        value = None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        builder.fault(
            line, "holds a character YAML does not allow", value=f"U+{ord(text[error.position]):04X}", fix="remove it"
        )
        value = None
    except ValueError as error:  # an escape such as "\U00110000", which the scanner gives to chr()
        builder.fault(1, f"can't be read as YAML: {error}", fix="look for `\\U` and `\\x` in quoted texts")
        value = None
    except UnreadableError:
        value = None
    return Tree(value=value, lines=builder.lines, texts=builder.texts, faults=tuple(builder.faults))


def syntax_faults(text: str, where: str, error: yaml.MarkedYAMLError) -> list[Fault]:
    """The parser stops at the first error; tabs in the indentation, the usual cause, are all listed."""
    tabs = [
        Fault(where=f"{where}:{number}", what="a tab indents this line", allowed="spaces", fix="indent with two spaces")
        for number, line in enumerate(text.splitlines(), start=1)
        if "\t" in line[: len(line) - len(line.lstrip())]
    ]
    if tabs:
        return tabs
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.splitlines()
    found = lines[number - 1].strip() if number <= len(lines) else "the end of the file"
    return [Fault(
        where=f"{where}:{number}", what=f"is not valid YAML: {error.problem or error.context or 'broken syntax'}",
        value=found or "an empty line", fix=syntax_hint(error),
    )]  # fmt: skip


def syntax_hint(error: yaml.MarkedYAMLError) -> str:
    problem, context = str(error.problem), str(error.context)
    if error.context_mark and ("flow" in context or "quoted scalar" in context):
        return f"close the bracket or quote that opens in line {error.context_mark.line + 1}"
    if "mapping values are not allowed" in problem:
        return "put a text that holds `: ` in quotes, or line the key up with its neighbours"
    if "cannot start any token" in problem:
        return "put the value in quotes"
    if "could not find expected ':'" in problem or "<block end>" in problem:
        return "write `key: value`, and indent the keys of one part by the same number of spaces"
    return "look for a missing quote, colon or bracket here or in the line above"
