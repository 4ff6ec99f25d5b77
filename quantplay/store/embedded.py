"""A real PostgreSQL beside the project: made, started, found again and stopped. Data in `home`/postgres/data.

The server listens on a Unix socket in a folder only its owner can enter, never on the network. It stays up when the
process that started it ends, so that the next command finds it in milliseconds; `stop_embedded` stops it. After a crash
or kill -9 the next start recovers. Local disk only: a network folder shared by two machines is not protected.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import URL

from quantplay.errors import InputError, ServiceUnavailable, shorten
from quantplay.store import programs
from quantplay.store.programs import Account

START_SECONDS = 90.0
LONGEST_SOCKET_FOLDER = 85  # bytes; a Unix socket's whole path must stay below 104 (macOS) or 108 (Linux)
LARGEST_LOG_BYTES = 10 << 20
SERVER_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def start_embedded(home: Path, on_progress: Callable[[str], None] | None = None) -> URL:
    """The database under `home`, made and started where necessary. Safe when several processes do this at once.

    `on_progress` gets a line for people when there is something to wait for. Raises InputError where the folder can't
    be used, ServiceUnavailable where the server does not come up.
    """
    data = data_folder(home)
    url = _ready(data)
    if url is not None:
        return url
    say = on_progress or (lambda text: None)
    if any(character in str(data) for character in "'\"$`\\\n"):
        raise InputError("QUANTPLAY_HOME holds a character PostgreSQL's start script can't take", value=home)
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with _locked(home):
            account = programs.account_for(data)
            programs.ensure_reachable(home.absolute(), account)
            if not (data / "PG_VERSION").exists():
                say(f"making the embedded database in {data}")
                _create(data, account)
            return _start(data, account, say)
    except OSError as error:
        raise ServiceUnavailable(
            "the embedded database's folder can't be used",
            value=f"{error.filename or data}: {error.strerror or error}",
            fix="free space or fix the permissions there, or set QUANTPLAY_HOME to another folder",
        ) from error


def stop_embedded(home: Path) -> bool:
    """Stop the server of `home`, letting running statements be rolled back; False where none was running."""
    data = data_folder(home)
    if not (data / "postmaster.pid").exists():
        return False
    with _locked(home):
        pid = _pid_of_server(data)
        if pid is not None:
            folder = next(iter(_pid_file(data)[4:5]), "")
            _stop(data, pid)
            if folder and folder != str(data):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
    return pid is not None


def data_folder(home: Path) -> Path:
    return home.absolute() / "postgres" / "data"


def server_pid(home: Path) -> int | None:
    """Process id of the running server of `home`, or None."""
    return _pid_of_server(data_folder(home))


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (data_folder(home).parent / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- is it there ---------------------------------------------------------------------------------------------------


def _pid_file(data: Path) -> list[str]:
    """Lines of postmaster.pid: pid, data folder, start time, port, socket folder, address, shared memory, status."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise InputError(
            "the embedded database belongs to another user",
            value=data,
            fix="run as that user, or set QUANTPLAY_HOME to a folder of your own",
        ) from error


def _ready(data: Path) -> URL | None:
    """Where the running server can be reached, or None. Believes the socket, not the pid file, which may be stale."""
    lines = _pid_file(data)
    if len(lines) < 8 or lines[7] != "ready" or not lines[4]:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(f"{lines[4]}/.s.PGSQL.{lines[3]}")
        except OSError:
            return None
    return URL.create(
        "postgresql+psycopg",
        username="postgres",
        database="postgres",
        query={"host": lines[4], "port": lines[3]},
    )


def _pid_of_server(data: Path) -> int | None:
    """Pid of a living postmaster of `data`: the number in the pid file can belong to another process by now."""
    import psutil

    lines = _pid_file(data)
    if not lines or not lines[0].isdigit():
        return None
    try:
        process = psutil.Process(int(lines[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
        return process.pid if alive else None
    except psutil.Error:
        return None


# --- make, start, stop ---------------------------------------------------------------------------------------------


def _create(data: Path, account: Account) -> None:
    _end_leftovers(data)
    major = programs.newest_version()
    binaries = programs.programs(major, account, data.parent)
    making = data.with_name("data.new")  # renamed when complete: an initdb killed half-way leaves nothing behind
    if making.exists():
        shutil.rmtree(making)
    programs.make_folder(making, account)
    arguments = ["-D", str(making), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    code, output = programs.run_program(
        binaries / "initdb", [*arguments, "--data-checksums", "--no-instructions"], account, START_SECONDS
    )
    if code != 0:
        shutil.rmtree(making, ignore_errors=True)
        raise ServiceUnavailable(
            f"the embedded database could not be made: {shorten(output, 400)}",
            fix=f"see that there is space and permission to write in {data.parent}",
        )
    if data.exists():
        data.rmdir()  # empty, or it would hold PG_VERSION; anything else in it is not ours to delete
    making.rename(data)


def _start(data: Path, account: Account, say: Callable[[str], None]) -> URL:
    major = int((data / "PG_VERSION").read_text())
    binaries = programs.programs(major, account, data.parent)
    deadline = time.monotonic() + START_SECONDS
    output = ""
    while time.monotonic() < deadline:
        url = _ready(data)
        if url is not None:
            return url
        pid = _pid_of_server(data)
        if pid is not None:
            lines = _pid_file(data)
            if len(lines) >= 8 and lines[7] == "ready" and _ready(data) is None:
                _stop(data, pid)  # it lives and its socket is gone: nobody can reach it any more
            time.sleep(0.05)
            continue
        say("starting the embedded database")
        _remove_stale_files(data, account)
        code, output = programs.run_program(
            binaries / "pg_ctl", _start_arguments(data, account), account, START_SECONDS + 10
        )
        if code != 0:
            if "shared memory block" not in _log_tail(data):
                break
            _end_leftovers(data)  # after kill -9 of the server its sessions live on for a moment
            time.sleep(0.2)
    raise ServiceUnavailable(
        f"the embedded database does not start: {_log_tail(data) or output}",
        fix=f"read {data / 'server.log'}; free disk space and memory; then try again",
    )


def _remove_stale_files(data: Path, account: Account) -> None:
    """Drop the pid and lock files of a dead server.

    PostgreSQL would refuse to start where the number in them belongs to another process by now, or to a dead one that
    nobody has collected, as in a container without an init process.
    """
    folder = Path(_socket_folder(data, account))
    for path in (data / "postmaster.pid", folder / ".s.PGSQL.5432.lock", folder / ".s.PGSQL.5432"):
        path.unlink(missing_ok=True)


def _start_arguments(data: Path, account: Account) -> list[str]:
    log = data / "server.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.unlink()
    folder = _socket_folder(data, account).replace('"', '""')
    options = [
        "-k",
        f'"{folder}"',
        *(word for name, value in SERVER_SETTINGS.items() for word in ("-c", f"{name}={value}")),
    ]
    command = ["start", "-w", "-t", str(int(START_SECONDS)), "-D", str(data), "-l", str(log)]
    return [*command, "-o", shlex.join(options)]


def _socket_folder(data: Path, account: Account) -> str:
    """The data folder, which only the owner can enter; where that path is too long, a private folder in /tmp."""
    if len(os.fsencode(data)) <= LONGEST_SOCKET_FOLDER:
        return str(data)
    folder = Path("/tmp") / f"quantplay-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"  # noqa: S108
    with contextlib.suppress(FileExistsError):
        programs.make_folder(folder, account)
    found = folder.lstat()
    if found.st_uid != account.uid or found.st_mode & 0o077 or folder.is_symlink():
        raise InputError(
            "the folder for the database's socket belongs to somebody else",
            value=folder,
            fix="remove it, or set QUANTPLAY_HOME to a shorter path",
        )
    return str(folder)


def _stop(data: Path, pid: int) -> None:
    """Fast shutdown (SIGINT), then immediate (SIGQUIT), which recovers at the next start."""
    import psutil

    for number, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not psutil.pid_exists(pid) or _pid_of_server(data) != pid:
                return
            time.sleep(0.02)


def _end_leftovers(data: Path) -> None:
    """End server processes that still work in `data` without a pid file or without their postmaster."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("postgres") and (
                str(data) in process.cmdline() or process.cwd() in (str(data), f"{data} (deleted)")
            ):
                process.send_signal(signal.SIGQUIT)
                found.append(process)
    _, alive = psutil.wait_procs(found, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def _log_tail(data: Path) -> str:
    """The last words of the server's log, without time and process id."""
    try:
        text = (data / "server.log").read_bytes()[-1500:].decode(errors="replace")
    except OSError:
        return ""
    return shorten(
        " / ".join(re.sub(r"^[-0-9]+ [.:0-9]+ UTC \[\d+\] ", "", line) for line in text.splitlines()[-5:]), 600
    )
