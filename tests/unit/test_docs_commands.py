"""Every `quantplay` command that a document shows is one the command line takes: its name, its options, its arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from test_docs import ROOT, documents

from quantplay.cli.app import app

BLOCK = re.compile(r"^( *)```(?:sh|console|bash)?\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (quantplay .*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*quantplay [^`\n]+)`")
CALL = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?quantplay (.*)$")
STATEMENT = "quantplay sign-off 1"  # first line of what people sign
STOPS = {"|", ">", ">>", "<", "&&", "||", ";", "&", "2>"}
COMMAND = typer.main.get_command(app)


def shown(text: str) -> Iterator[str]:
    """Command lines of a document's code and sentences, without prompts; a backslash joins lines."""
    for match in BLOCK.finditer(text):
        for line in match[2].replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")
    yield from INDENTED.findall(text)
    yield from INLINE.findall(BLOCK.sub("", text))


def words_of(line: str) -> list[str] | None:
    """The words of a call of quantplay in a line of shell, without what comes before and after it."""
    found = CALL.match(line)
    if found is None or line == STATEMENT:
        return None
    try:
        words = shlex.split(re.sub(r"[\[\]]", "", found[1].split(" #")[0]))  # [what may be left out]
    except ValueError:
        return None
    ends = [number for number, word in enumerate(words) if word in STOPS]
    return words[: ends[0]] if ends else words


def fault_of(words: list[str]) -> str | None:
    """What the command line would refuse in `words`; values, often placeholders, and what a sentence leaves out are not looked at."""
    command: Any = COMMAND
    context: Any = COMMAND.make_context("quantplay", [], resilient_parsing=True)
    while getattr(command, "commands", None) and not (
        command.invoke_without_command and words and words[0].startswith("-")
    ):
        names = [word for word in words if not word.startswith("-")]
        if not names or names[0] == "COMMAND":
            return None if command.invoke_without_command or "--help" in words else "no command"
        if names[0] not in command.commands:
            return f"no command {names[0]}"
        words = [word for number, word in enumerate(words) if number != words.index(names[0])]
        command = command.commands[names[0]]
        context = command.make_context(names[0], [], parent=context, resilient_parsing=True)
    if "--help" in words:
        return None
    try:
        _, left, _ = command.make_parser(context).parse_args(args=list(words))
    except Exception as error:  # noqa: BLE001 - of the click that typer brings, which is not for others to import
        return str(error)
    return f"too many words: {left}" if left else None


def calls() -> list[tuple[str, str]]:
    return [
        (document.relative_to(ROOT).as_posix(), line)
        for document in documents()
        for line in shown(document.read_text(encoding="utf-8"))
        if words_of(line) is not None
    ]


def test_commands_are_found() -> None:
    assert len(calls()) > 50


@pytest.mark.parametrize(("document", "line"), calls())
def test_the_command_line_takes_it(document: str, line: str) -> None:
    words = words_of(line)
    assert words is not None
    assert fault_of(words) is None, f"{document}: {line}"


@pytest.mark.parametrize(
    "words", [["plann", "x"], ["plan", "x", "--targett", "H100"], ["registry", "nothing"], ["check", "a", "b"]]
)
def test_a_fault_is_found(words: list[str]) -> None:
    assert fault_of(words) is not None
