"""The local Prefect server: found, started, stopped. A server named by PREFECT_API_URL is used as it is.

Its state lies in its own folder under quantplay's home, so that a Prefect already installed for something else is left alone.
It stays up after a run, because that is where the run is looked at; `quantplay down` stops it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.settings import Settings

SERVER = "flows.server"  # the module started as a process of its own, and how that process is known again
START_TIMEOUT_SECONDS = 120
BUSY_SECONDS = 30  # a server that lives and does not answer is busy, until it has had this long
FIRST_PORT = 4200


@dataclass(frozen=True, kw_only=True)
class PrefectServer:
    """A server that answered its health check."""

    api_url: str
    started: bool  # by this call

    @property
    def page(self) -> str:
        return self.api_url.removesuffix("/api")


def prefect_environment(settings: Settings) -> dict[str, str]:
    """What the local server and its clients share: their own folder, no analytics, no update checks."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # errors are shown once, by the command line
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_CLI_PROMPT": "false",
    }


def ensure_server(settings: Settings, say: Callable[[str], None]) -> PrefectServer:
    """The server to use, started if need be, with this process's environment pointing at it.

    Call before Prefect is imported: it reads its settings once.
    """
    if settings.prefect_api_url:
        require_healthy(settings.prefect_api_url)
        return PrefectServer(api_url=settings.prefect_api_url, started=False)
    os.environ.update(prefect_environment(settings))
    folder = settings.home / "prefect"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "the folder for everything a run keeps can't be made", value=f"{folder}: {error.strerror}",
            allowed="a folder this user may write to, on a disk with space", fix="set QUANTPLAY_HOME to one",
        ) from error  # fmt: skip
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = running_server(folder)
        if running is None:
            say("starting the local Prefect server (about 10 seconds, once)")
            running = start_server(settings, folder)
            started = True
        else:
            started = False
    os.environ["PREFECT_API_URL"] = running
    return PrefectServer(api_url=running, started=started)


def api_environment(settings: Settings) -> dict[str, str]:
    """What a client of the server in use needs. Raises ServiceUnavailable where none is named and none runs here."""
    if settings.prefect_api_url:
        require_healthy(settings.prefect_api_url)
        return {"PREFECT_API_URL": settings.prefect_api_url}
    running = running_server(settings.home / "prefect")
    if running is None:
        raise ServiceUnavailable(
            "no Prefect server runs here",
            value=settings.home,
            fix="start one with `quantplay up`, or name one in PREFECT_API_URL",
        )
    return {**prefect_environment(settings), "PREFECT_API_URL": running}


def running_server(folder: Path) -> str | None:
    """API address of the server noted in `folder`, if it is alive and healthy. A busy one has BUSY_SECONDS to answer."""
    note = read_note(folder)
    deadline = time.monotonic() + BUSY_SECONDS
    while note is not None and is_prefect(note["pid"]):
        if healthy(note["api_url"]):
            return note["api_url"]
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.2)
    return None


def start_server(settings: Settings, folder: Path) -> str:
    before = read_note(folder)
    stop_server(settings)
    log_path = folder / "server.log"
    with listening(None if before is None else urlsplit(before["api_url"]).port) as sock, log_path.open("ab") as log:
        port, fd = sock.getsockname()[1], sock.fileno()
        api_url = f"http://127.0.0.1:{port}/api"
        server = subprocess.Popen(
            [sys.executable, "-m", SERVER, "--port", str(port), "--fd", str(fd)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # survives the terminal: Ctrl-C of a run must not take the server away
            env={**os.environ, **prefect_environment(settings)},
        )
    note = folder / "server.json"
    note.write_text(json.dumps({"pid": server.pid, "api_url": api_url}))
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if healthy(api_url):
            return api_url
        if server.poll() is not None:
            break
        time.sleep(0.2)
    if server.poll() is None:
        server.terminate()
    note.unlink(missing_ok=True)
    raise ServiceUnavailable(
        "the local Prefect server did not start",
        value=f"port {port}, log {log_path}",
        fix=f"read the end of {log_path}; `quantplay doctor` shows ports and disk",
    )


def stop_server(settings: Settings, seconds: float = 15) -> bool:
    """Stop the local server if there is one; True when one was stopped."""
    folder = settings.home / "prefect"
    note = read_note(folder)
    if note is None:
        return False
    (folder / "server.json").unlink(missing_ok=True)
    pid = note["pid"]
    if not is_prefect(pid):
        return False
    os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_prefect(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
        reap(pid)
    if is_prefect(pid):
        os.killpg(pid, signal.SIGKILL)
    return True


def reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not our child: its own parent, or init, reaps it


def read_note(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "server.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def is_prefect(pid: int) -> bool:
    """Whether `pid` is alive and our Prefect server, so that a recycled number is never signalled."""
    return runs_module(pid, SERVER)


def runs_module(pid: int, *words: str) -> bool:
    """Whether `pid` is alive and was started with every one of `words` among its arguments."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return all(word.encode() in arguments for word in words)


def healthy(api_url: str, timeout: float = 2) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=timeout) as answer:  # noqa: S310 - our own address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def require_healthy(api_url: str) -> None:
    if not healthy(api_url, BUSY_SECONDS):
        raise ServiceUnavailable(
            "the Prefect server of PREFECT_API_URL does not answer",
            value=api_url,
            fix="start it, or unset PREFECT_API_URL to use a local one",
        )


def listening(before: int | None = None) -> socket.socket:
    """A socket for the server to inherit, on the port it had `before`, because workers know it; on 4200, where people expect Prefect;
    otherwise on any. Listening already: two homes that start at once would otherwise both find 4200 free, and share one server.
    """
    for port in (before, FIRST_PORT, 0):
        if port is None:
            continue
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections don't matter
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(1024)
        except OSError:
            sock.close()
            continue
        return sock
    raise ServiceUnavailable("no free port on 127.0.0.1", fix="stop a program that listens there")
