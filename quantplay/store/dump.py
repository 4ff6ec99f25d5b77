"""The tables as one file and back, by PostgreSQL's own pg_dump and pg_restore, which come with the embedded server."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import URL

from quantplay.digest import CHUNK
from quantplay.engines.whole_file import flush
from quantplay.errors import OutOfSpace, QuantplayError, ServiceUnavailable, shorten
from quantplay.store import programs
from quantplay.store.embedded import data_folder
from quantplay.store.programs import Account
from quantplay.store.tables import SCHEMA


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server on this machine's Unix socket, and the programs of its own version."""

    url: URL
    major: int
    binaries: Path
    account: Account

    @property
    def options(self) -> tuple[str, ...]:
        host, port = self.url.query["host"], self.url.query["port"]
        return (f"--host={host}", f"--port={port}", f"--username={self.url.username}", "--no-password")


def embedded_server(home: Path, url: URL) -> Server:
    """The embedded server of `home`, which runs at `url`."""
    data = data_folder(home)
    account = programs.account_for(data)
    major = int((data / "PG_VERSION").read_text())
    return Server(url=url, major=major, binaries=programs.programs(major, account, data.parent), account=account)


def dump(server: Server, snapshot: str, out: Path) -> None:
    """Write the tables as `snapshot` (of pg_export_snapshot) sees them to the new file `out`. Raises OutOfSpace, ServiceUnavailable."""
    command = [
        server.binaries / "pg_dump",
        *server.options,
        f"--dbname={server.url.database}",
        f"--snapshot={snapshot}",
    ]
    command += ["--format=custom", f"--schema={SCHEMA}", "--no-owner", "--no-privileges"]
    with out.open("xb") as file, tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=said, check=False, **programs.run_as(server.account)
        )
        if done.returncode != 0:
            raise _failed("the tables could not be written", said, out)
    flush(out)


def restore(server: Server, file: Path) -> None:
    """Bring the tables of `file` back, in one transaction: all of them or nothing. Raises ServiceUnavailable.

    The file goes through a pipe, so that the transaction ends where this process is killed.
    """
    command = [
        server.binaries / "pg_restore",
        *server.options,
        f"--dbname={server.url.database}",
        "--single-transaction",
    ]
    command += ["--exit-on-error", "--no-owner", "--no-privileges"]
    with tempfile.TemporaryFile() as said, file.open("rb") as source:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, **programs.run_as(server.account)
        )
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as pipe:  # it ended early: its words say why
                while chunk := source.read(CHUNK):
                    pipe.write(chunk)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code != 0:
            raise _failed("the tables could not be brought back; the database stays empty", said, file)


def _failed(what: str, said: IO[bytes], where: Path) -> QuantplayError:
    said.seek(0)
    text = shorten(said.read().decode(errors="replace"), 400)
    if "No space left" in text or "Disk quota" in text:
        return OutOfSpace("the disk is full", value=f"{where}: {text}", fix="free space there and run again")
    return ServiceUnavailable(f"{what}: {text}", value=where, fix="see `quantplay doctor`, then try again")
