"""The exception tree. An error says what failed, the value, what is allowed and what to do next.

Whether a retry can help is in the type (`transient`), and so is the exit code of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with something a user gave us."""

    where: str  # file, file:line or dotted path in the plan
    what: str  # what is wrong, a sentence without a full stop
    value: str | None = None  # what was found there, shortened by the renderer
    allowed: str | None = None  # what would be accepted
    fix: str | None = None  # the next thing to do, a command where there is one

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}"]
        if self.value is not None:
            parts.append(f"found {shorten(self.value)}")
        if self.allowed is not None:
            parts.append(f"allowed: {self.allowed}")
        if self.fix is not None:
            parts.append(f"fix: {self.fix}")
        return "; ".join(parts)


def shorten(text: str, limit: int = 160) -> str:
    """`text` on one line, cut in the middle to at most `limit` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    half = (limit - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


class QuantplayError(Exception):
    """Root of everything quantplay raises on purpose."""

    exit_code = 1
    transient = False

    def __init__(self, what: str, *, value: object = None, allowed: str | None = None, fix: str | None = None) -> None:
        self.what, self.value, self.allowed, self.fix = what, value, allowed, fix
        lines = [what]
        if value is not None:
            lines.append(f"  found:   {shorten(str(value))}")
        if allowed is not None:
            lines.append(f"  allowed: {allowed}")
        if fix is not None:
            lines.append(f"  do this: {fix}")
        super().__init__("\n".join(lines))


class InputError(QuantplayError):
    """Something a user supplied can't be used. All its faults are listed at once."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        faults: Sequence[Fault] = (),
        value: object = None,
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, value=value, allowed=allowed, fix=fix)
        self.faults = tuple(faults)
        if faults:
            self.args = ("\n".join([str(self.args[0]), *(f"  - {fault}" for fault in faults)]),)


class PlanError(InputError):
    """A plan that can't be run; `faults` holds every one of them."""


class IntegrityError(InputError):
    """Bytes are not the bytes that were recorded: a digest differs, a file is missing or was added."""


class Conflict(InputError):
    """Somebody else changed it first, or it is final: nothing was changed. Look again before trying again."""


class MissingDependency(QuantplayError):
    """A package or a program that this step needs is not installed; `fix` holds the install command."""

    exit_code = 3


class OutOfSpace(QuantplayError):
    """A disk is too full for what has to be written; nothing partial is left behind."""

    exit_code = 3


class ServiceUnavailable(QuantplayError):
    """A database, server or store does not answer; a retry can help."""

    exit_code = 3
    transient = True


class ChildProcessFailed(QuantplayError):
    """A child process died without an answer: killed, out of memory, or crashed in native code."""


class InternalError(QuantplayError):
    """Our own fault. The text says what to send us."""
