"""Errors become messages and exit codes; our own faults become a file to send."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from quantplay.cli.console import console, errors_console
from quantplay.cli.failures import exit_code_of
from quantplay.errors import (
    Fault,
    InputError,
    IntegrityError,
    MissingDependency,
    PlanError,
    QuantplayError,
    ServiceUnavailable,
)
from quantplay.settings import settings


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Consoles on this test's streams, and a home of its own."""
    monkeypatch.setenv("QUANTPLAY_HOME", str(tmp_path / "home"))
    for cached in (console, errors_console, settings):
        cached.cache_clear()
    yield
    for cached in (console, errors_console, settings):
        cached.cache_clear()


def command_that(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> str:
    """Name of a command whose module raises `error`."""
    module = ModuleType("quantplay.cli.raises")

    def command(json: bool = False) -> int:
        raise error

    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "quantplay.cli.raises", module)
    return "raises"


ERRORS: list[tuple[QuantplayError, int]] = [
    (QuantplayError("odd"), 1),
    (InputError("bad", value="x", allowed="y", fix="z"), 2),
    (PlanError("plan", faults=[Fault(where="p:1", what="one", value="v", allowed="a", fix="f")]), 2),
    (IntegrityError("changed"), 2),
    (MissingDependency("no compiler", fix="apt-get install g++"), 3),
    (ServiceUnavailable("no server"), 3),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_our_errors(
    error: QuantplayError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = command_that(monkeypatch, error)
    assert exit_code_of(name, {}, json=False) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for text in (error.what, error.value, error.allowed, error.fix, f"(exit code {code})"):
        assert text is None or str(text) in err
    for fault in getattr(error, "faults", ()):
        assert all(text in err for text in (fault.where, fault.what, fault.value, fault.allowed, fault.fix))

    assert exit_code_of(name, {}, json=True) == code
    out, err = capsys.readouterr()
    assert err == ""
    answer = json.loads(out)
    assert answer["exit_code"] == code
    assert answer["error"]["what"] == error.what
    assert len(answer["error"]["faults"]) == len(getattr(error, "faults", ()))


def test_markup_in_a_message_is_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = command_that(monkeypatch, InputError("see [bold]this[/bold] and [/nothing]", value="[red]"))
    assert exit_code_of(name, {}, json=False) == 2
    assert "see [bold]this[/bold] and [/nothing]" in capsys.readouterr().err


def test_our_own_fault_leaves_a_file_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = command_that(monkeypatch, ZeroDivisionError("by zero"))
    assert exit_code_of(name, {}, json=False) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in err
    assert "Traceback" not in err
    (file,) = (tmp_path / "home" / "crashes").iterdir()
    assert file.name in "".join(err.split()).replace("│", "")
    text = file.read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError: by zero" in text
    assert "command raises" in text


def test_a_home_that_cannot_be_written_does_not_hide_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = command_that(monkeypatch, RuntimeError("odd"))
    assert exit_code_of(name, {}, json=False) == 1
    assert "RuntimeError: odd" in capsys.readouterr().err
    assert len(list((tmp_path / "quantplay-crashes").iterdir())) == 1


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(command_that(monkeypatch, KeyboardInterrupt()), {}, json=False) == 130
    assert "interrupted" in capsys.readouterr().err
