"""Run one long command: everything it says goes to a log, the terminal gets a line of progress with the time elapsed.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import collections
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

BEAT_SECONDS = 10.0  # between two lines where the output is a file or a CI log
BLINK_SECONDS = 0.5  # between two refreshes of the one line on a terminal

NO_NETWORK = re.compile(
    r"NewConnectionError|Temporary failure in name resolution|Network is unreachable|Max retries exceeded|"
    r"ConnectTimeout|ReadTimeout|Connection refused|Connection aborted|ProxyError|SSLError|Name or service not known"
)
NOT_THERE = re.compile(r"No matching distribution found for (\S+)")
NO_SPACE = re.compile(r"No space left on device")
BUILD_BROKE = re.compile(r"Building wheel for \S+ .*error|Failed building wheel|CMake Error|ninja: build stopped")


class SetupError(Exception):
    """Set-up can't go on. The text is one line: what failed and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def elapsed(seconds: float) -> str:
    """`seconds` as `42 s` or `3 min 07 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def explain(output: str, what: str, log: Path) -> str:
    """One line for a failed command: what failed, why as far as its output tells, and the next thing to do."""
    if NO_SPACE.search(output):
        return f"{what} failed: no space left on the device. About 4 GB are needed; free some and run make again."
    if NO_NETWORK.search(output):
        return (
            f"{what} failed: the package index can't be reached. Check the network and the index that "
            f"`pip config list` shows, then run make again. Log: {log}"
        )
    if missing := NOT_THERE.search(output):
        return (
            f"{what} failed: the index pip uses has no {missing[1]} for this machine. "
            f"`pip config list` shows the index; `make lock` makes a lock for another one. Log: {log}"
        )
    if BUILD_BROKE.search(output):
        return f"{what} failed: the compiler stopped; its message is in {log}. Install g++ 9 or newer, then run make again."
    return f"{what} failed; the whole output is in {log}. Run make again after fixing what it says."


def run_logged(
    command: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    progress: Callable[[str], str | None],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run `command`, append its output to `log`, show the newest text that `progress(line)` returned.

    Raises SetupError with `explain`'s line where it ends non-zero.
    """
    started = time.monotonic()
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    tail: collections.deque[str] = collections.deque(maxlen=400)
    beat = _Beat(started)
    with log.open("a", encoding="utf-8") as record:
        record.write(f"\n$ {' '.join(map(str, command))}\n")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=dict(env) if env is not None else None,
            cwd=cwd,
        )
        assert process.stdout is not None
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        text = what
        try:
            while (line := _next(lines, beat.pause)) is not None:
                if line:
                    record.write(line)
                    tail.append(line)
                    text = progress(line) or text
                beat.show(text)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            beat.close()
    if code != 0:
        raise SetupError(explain("".join(tail), what, log))


def _pump(stream: TextIO, lines: queue.SimpleQueue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _next(lines: queue.SimpleQueue[str | None], pause: float) -> str | None:
    """The next line of output, `""` where none came within `pause` seconds, None at the end."""
    try:
        return lines.get(timeout=pause)
    except queue.Empty:
        return ""


class _Beat:
    """Shows the newest progress: one line rewritten on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.terminal = sys.stdout.isatty()
        self.pause = BLINK_SECONDS if self.terminal else BEAT_SECONDS
        self.shown = started

    def show(self, text: str) -> None:
        now = time.monotonic()
        if now - self.shown < self.pause:
            return
        self.shown = now
        line = f"      {elapsed(now - self.started)}: {text}"
        if self.terminal:
            print(f"\r\x1b[2K{line[:110]}", end="", flush=True)
        else:
            say(line)

    def close(self) -> None:
        if self.terminal:
            print("\r\x1b[2K", end="", flush=True)
