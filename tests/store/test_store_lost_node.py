"""A machine that is cut off says no good-bye: its lock has to become free all the same. In a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from quantplay.settings import Settings
from quantplay.store import connect, embedded, programs
from quantplay.store.registry import open_store

HERE, THERE, PORT = "10.213.77.1", "10.213.77.2", 54377
QUICK = {"tcp_keepalives_idle": 1, "tcp_keepalives_interval": 1, "tcp_keepalives_count": 2, "tcp_user_timeout": 2000}
HOLD = f"""
import time
from quantplay.settings import read_settings
from quantplay.store import connect
from quantplay.store.registry import open_store
connect.SERVER_KEEPALIVES.update({QUICK})
with open_store(read_settings()) as store, store.run_lock("work"):
    print("held", flush=True)
    time.sleep(300)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[str]:
    """Name of a network namespace that reaches this machine by one cable."""
    name = f"quantplay-{os.getpid()}"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and the program ip, to make a network of its own")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine gives out no network namespaces: {error.stderr.decode()}")
    try:
        ip("link", "add", "qp-here", "type", "veth", "peer", "name", "qp-there", "netns", name)
        ip("addr", "add", f"{HERE}/24", "dev", "qp-here")
        ip("link", "set", "qp-here", "up")
        ip("-n", name, "addr", "add", f"{THERE}/24", "dev", "qp-there")
        ip("-n", name, "link", "set", "qp-there", "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", "qp-here"], capture_output=True)  # the other end goes with it
        ip("netns", "del", name)


@pytest.fixture
def listening(make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """A database that listens on this end of the cable."""
    with tempfile.TemporaryDirectory(prefix="quantplay-lost-") as folder:
        Path(folder).chmod(0o755)
        embedded.start_embedded(Path(folder))
        embedded.stop_embedded(Path(folder))
        data = embedded.data_folder(Path(folder))
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {HERE}/24 trust\n")
        account = programs.account_for(data)
        control = programs.programs(int((data / "PG_VERSION").read_text()), account, data.parent) / "pg_ctl"
        options = f"-c listen_addresses={HERE} -p {PORT} -k {data}"
        code, said = programs.run_program(
            control, ["start", "-w", "-D", str(data), "-l", str(data / "server.log"), "-o", options], account, 60
        )
        assert code == 0, said
        yield make_settings(f"postgresql://postgres@{HERE}:{PORT}/postgres", Path(folder))
        embedded.stop_embedded(Path(folder))


def test_a_machine_that_is_cut_off_frees_its_locks(network: str, listening: Settings) -> None:
    assert listening.database_url is not None
    environment = {"QUANTPLAY_DATABASE_URL": listening.database_url, "PATH": os.environ["PATH"]}
    command = ["ip", "netns", "exec", network, sys.executable, "-c", HOLD]
    with (
        open_store(listening) as store,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder,
    ):
        with store.engine.connect() as connection:
            told = {name: connection.scalar(sa.text(f"show {name}")) for name in connect.SERVER_KEEPALIVES}
        assert told == {
            "tcp_keepalives_idle": "15", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
            "tcp_user_timeout": "45000",
        }  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            ip(
                "-n", network, "link", "set", "qp-there", "down"
            )  # from here on no packet arrives, not even one that says good-bye
            cut = time.monotonic()
            with store.run_lock("work") as waited:
                assert waited
                assert time.monotonic() - cut < 30
        finally:
            holder.kill()
