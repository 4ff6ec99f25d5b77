"""The embedded server: made, found, stopped, crashed and started by several processes at once."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
import store_samples as samples

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store import embedded, programs
from quantplay.store.embedded import server_pid, start_embedded, stop_embedded
from quantplay.store.registry import open_store

APPEND = """
import sys
from pathlib import Path
from quantplay.settings import read_settings
from quantplay.store.registry import open_store
with open_store(read_settings()) as store:
    for number in range(int(sys.argv[1])):
        store.append_event("process", "k", str(number))
    print(store.database_id)
"""


def start_process(home: Path, count: int) -> subprocess.Popen[str]:
    environment = {"QUANTPLAY_HOME": str(home), "PATH": "/usr/bin:/bin", "PGPORT": "1", "PGDATABASE": "x"}
    command = [sys.executable, "-W", "error", "-c", APPEND, str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def home(new_home: Callable[[str], Path]) -> Path:
    return new_home("a home with späces")


def test_several_processes_make_one_database(home: Path, make_settings: Callable[..., Settings]) -> None:
    running = [start_process(home, 5) for _ in range(2)]
    identities = {process.communicate(timeout=100)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(identities) == 1
    pid = server_pid(home)
    assert pid is not None  # stays up for the next command
    with open_store(make_settings(None, home)) as store:
        assert store.database_id == identities.pop().strip()
        assert len(store.events()) == 10
        assert store.verify_events() == ()
    assert server_pid(home) == pid
    data = embedded.data_folder(home)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert psutil.Process(pid).uids().real != 0


def test_stop_and_start_again(home: Path, make_settings: Callable[..., Settings]) -> None:
    with open_store(make_settings(None, home)) as store:
        store.append_event("ann", "before", "s")
    assert stop_embedded(home)
    assert not stop_embedded(home)
    assert server_pid(home) is None
    told: list[str] = []
    with open_store(make_settings(None, home), told.append) as store:
        assert len(store.events(kind="before")) == 1
    assert told == ["starting the embedded database"]


@pytest.mark.parametrize("while_a_session_is_open", [False, True])
def test_kill_9_of_the_server_loses_nothing(
    home: Path, make_settings: Callable[..., Settings], while_a_session_is_open: bool
) -> None:
    settings = make_settings(None, home)
    with open_store(settings) as store:
        store.put_evaluation(samples.digest(while_a_session_is_open), samples.evaluation(500))
        before = len([store.append_event("ann", "k", "s") for _ in range(20)])
        if not while_a_session_is_open:
            store.close()
        pid = server_pid(home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        if while_a_session_is_open:
            psutil.Process(pid).wait(10)
            with pytest.raises(ServiceUnavailable):
                store.append_event("ann", "after", "s")
    with open_store(settings) as store:
        assert store.get_evaluation(samples.digest(while_a_session_is_open)) == samples.evaluation(500)
        assert len(store.events(kind="k")) >= before
        assert store.verify_events() == ()
    assert server_pid(home) not in (None, pid)


def test_a_pid_that_belongs_to_somebody_else_now(home: Path, make_settings: Callable[..., Settings]) -> None:
    stop_embedded(home)
    file = embedded.data_folder(home) / "postmaster.pid"
    file.write_text(f"{os.getpid()}\n{file.parent}\n1\n5432\n{file.parent}\n\n1 1\nready\n")
    with open_store(make_settings(None, home)) as store:
        assert store.verify_events() == ()


def test_a_server_whose_socket_is_gone_is_replaced(home: Path, make_settings: Callable[..., Settings]) -> None:
    start_embedded(home)
    pid = server_pid(home)
    (embedded.data_folder(home) / ".s.PGSQL.5432").unlink()
    with open_store(make_settings(None, home)) as store:
        assert store.verify_events() == ()
    assert server_pid(home) not in (None, pid)


def test_older_data_in_a_very_deep_folder(
    new_home: Callable[[str], Path], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = new_home("x" * 90)
    monkeypatch.setattr(programs, "newest_version", lambda: 16)
    with open_store(make_settings(None, deep)) as store:
        store.put_baseline(samples.digest(1), samples.baseline())
        assert str(store.engine.url.query["host"]).startswith("/tmp/quantplay-")
        with store.engine.connect() as connection:
            assert str(connection.scalar(sa.text("show server_version"))).startswith("16.")
    monkeypatch.undo()
    stop_embedded(deep)
    with open_store(make_settings(None, deep)) as store:  # keeps the version that made it
        assert store.get_baseline(samples.digest(1)) == samples.baseline()
    stop_embedded(deep)
    (embedded.data_folder(deep) / "PG_VERSION").write_text("12\n")
    with pytest.raises(InputError, match="does not have"):
        open_store(make_settings(None, deep))


def test_a_server_that_can_t_start_says_why(home: Path, make_settings: Callable[..., Settings]) -> None:
    stop_embedded(home)
    setting = embedded.data_folder(home) / "postgresql.auto.conf"
    before = setting.read_text()
    setting.write_text(before + "no_such_setting = 1\n")
    with pytest.raises(ServiceUnavailable, match="no_such_setting"):
        open_store(make_settings(None, home))
    setting.write_text(before)
    start_embedded(home)


def test_a_home_the_database_can_t_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="character"):
        start_embedded(tmp_path / "a$b")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500 if os.geteuid() else 0o700)
    with pytest.raises((InputError, ServiceUnavailable), match="QUANTPLAY_HOME"):
        start_embedded(closed / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root copies the programs for another account")
def test_programs_out_of_reach_are_copied(new_home: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    copies = new_home("copies")
    copies.mkdir()
    account = programs.account_for(copies / "none")
    installed = programs.programs(18, account, copies)
    real = programs._may_enter
    monkeypatch.setattr(programs, "_may_enter", lambda folder, _: folder != installed and real(folder, account))
    copied = programs.programs(18, account, copies)
    assert copied.is_relative_to(copies)
    assert programs.programs(18, account, copies) == copied
    code, output = programs.run_program(copied / "initdb", ["--version"], account, 20)
    assert (code, output.split()[-1].split(".")[0]) == (0, "18")
