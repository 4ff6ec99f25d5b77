"""`python -m quantplay.harness.served PARENT COMMAND ...`: keeps COMMAND for as long as the process PARENT lives.

A server may start processes of its own that outlive it (vLLM does). So it gets a process group of its own, which is ended
whole: when the keeper is asked to end, when PARENT dies in whatever way, and when the server itself ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import NoReturn

from quantplay import process

END_SECONDS = 15.0  # to end by itself; a server on a GPU frees its memory


def keep(parent: int, words: list[str]) -> NoReturn:
    keeper = os.getpid()
    server = os.fork()
    if server == 0:
        os.setsid()
        process.die_with(keeper)
        os.execvp(words[0], words)  # noqa: S606 - the kernel's order to die outlives exec

    def end(*_: object) -> None:
        deadline = time.monotonic() + END_SECONDS
        if os.getppid() == parent:  # nobody is left to wait for otherwise
            ask(server, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                while time.monotonic() < deadline and os.waitpid(server, os.WNOHANG)[0] == 0:
                    time.sleep(0.05)
        ask(server, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    process.die_with(parent, signal.SIGTERM)
    _, status = os.waitpid(server, 0)
    ask(server, signal.SIGKILL)  # what it left behind
    if os.WIFSIGNALED(status):  # end in the same way, for who waits for us
        if os.WTERMSIG(status) == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(keeper, os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def ask(server: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server, number)


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2:])
