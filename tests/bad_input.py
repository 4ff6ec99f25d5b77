"""What every bad input has in common: an exit code, an error that helps, no traceback, and nothing written.

Input goes through the command line's own entry, so that a test sees what a user sees.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quantplay.cli.console import console, errors_console
from quantplay.cli.failures import exit_code_of
from quantplay.errors import Fault

Bad = tuple[str, Callable[[Path], object], tuple[str, ...]]
"""Name of the case, what it does to a folder with a good plan and all its files, words that one fault holds."""


def names(table: list[Any]) -> list[str]:
    """Ids for pytest: the first column."""
    return [row[0] for row in table]


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Everything below `folder`, hidden files too: path -> mode and content (of a link where it leads)."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content: bytes | str = ""
        if stat.S_ISLNK(mode):
            content = os.readlink(path)  # noqa: PTH115 - the text of the link, whatever it is
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = mode, content
    return found


@contextmanager
def nothing_written(folder: Path) -> Iterator[None]:
    """Fails where the block leaves anything below `folder` that was not there, or other bytes."""
    before = tree(folder)
    yield
    after = tree(folder)
    assert after.keys() == before.keys()
    assert [path for path in before if after[path] != before[path]] == []


def answer_of(capsys: pytest.CaptureFixture[str], command: str, arguments: dict[str, Any]) -> tuple[int, list[Fault]]:
    """Exit code and faults of a command; an error without faults counts as one.

    Asked twice, for people and for machines: both must give one exit code and no traceback.
    """
    for cached in (console, errors_console):
        cached.cache_clear()  # each test has streams of its own
    code = exit_code_of(command, arguments, json=False)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "inside quantplay" not in err, err
    for cached in (console, errors_console):
        cached.cache_clear()
    assert exit_code_of(command, arguments, json=True) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    if not out:  # the command has no form for machines
        return code, [Fault(where=command, what=" ".join(err.replace("\u2502", " ").split()))]
    answer = json.loads(out)
    if "error" not in answer:
        return code, [Fault(**fault) for fault in answer["faults"]]
    error = answer["error"]
    whole = Fault(where=command, what=error["what"], value=error["value"], allowed=error["allowed"], fix=error["fix"])
    return code, [*(Fault(**fault) for fault in error["faults"]), whole]


def require_helpful(faults: list[Fault], words: tuple[str, ...]) -> None:
    """One fault holds all the words, and says what is allowed or what to do."""
    found = [fault for fault in faults if all(word in str(fault) for word in words)]
    assert found, "\n".join(map(str, faults)) or "no fault at all"
    assert found[0].where
    assert found[0].allowed or found[0].fix, f"says neither what is allowed nor what to do: {found[0]}"
    assert len(str(found[0])) < 2000, "nobody reads that"
    str(found[0]).encode()  # can be printed
