"""A database that goes away while the store is open: waited for, and the embedded one started again."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import store_samples as samples

from quantplay.errors import ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store import embedded, locks
from quantplay.store.registry import open_store


@pytest.fixture
def home(make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """A home of its own whose database this test may kill."""
    # PostgreSQL drops root and must be able to enter the folder, which pytest's own temporary folders don't allow.
    with tempfile.TemporaryDirectory(prefix="quantplay-patience-") as folder:
        Path(folder).chmod(0o755)
        yield make_settings(None, Path(folder) / "home")
        embedded.stop_embedded(Path(folder) / "home")


def kill_server(settings: Settings) -> None:
    """Kill the server and see its sessions end: on a busy machine an orphaned one still answers a statement or two."""
    pid = embedded.server_pid(settings.home)
    assert pid is not None
    sessions = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    while embedded.server_pid(settings.home) is not None or any(map(lives, sessions)):
        time.sleep(0.01)


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_an_open_store_outlives_its_embedded_database(home: Settings) -> None:
    said: list[str] = []
    with open_store(home, said.append, patience_seconds=60) as store:
        key = store.put_plan(samples.plan())
        before = store.append_event("test", "before", "x")
        for round_ in range(3):
            kill_server(home)
            assert store.get_plan(key) == samples.plan()
            assert store.append_event("test", "after", str(round_)).previous
        assert store.events()[0] == before
        assert store.verify_events() == ()
    assert any("waiting for it" in text for text in said)


def test_a_lock_is_given_out_again_after_a_restart(home: Settings) -> None:
    with open_store(home, patience_seconds=60) as store:
        with store.run_lock("work") as waited:
            assert not waited
            kill_server(home)
        with store.run_lock("work") as waited:
            assert not waited


def test_a_database_that_comes_back_is_waited_for(home: Settings) -> None:
    with open_store(home, patience_seconds=60) as store:
        store.revive = lambda: None  # as with a server that is somebody else's to start
        kill_server(home)
        timer = threading.Timer(2, lambda: embedded.start_embedded(home.home))
        timer.start()
        started = time.monotonic()
        store.append_event("test", "back", "x")
        assert time.monotonic() - started > 1
        timer.join()


def test_patience_ends(home: Settings) -> None:
    with open_store(home) as store:
        store.revive = lambda: None
        kill_server(home)
        store.patience_seconds = 1.0
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            store.events()
        assert 0.9 < time.monotonic() - started < 20


def test_who_waits_for_a_lock_outlives_the_database(home: Settings) -> None:
    with open_store(home, patience_seconds=60) as first, open_store(home, patience_seconds=60) as second:
        waiting, got = threading.Event(), []

        def wait() -> None:
            with second.run_lock("work", waiting.set) as waited:
                got.append((time.monotonic(), waited))

        thread = threading.Thread(target=wait)
        with first.hold("work") as lock:
            thread.start()
            assert waiting.wait(10)
            kill_server(home)
            embedded.start_embedded(home.home)
            # Who held it before has it again, ahead of who waits.
            assert first.secure(lock) is False
            time.sleep(2)
            assert not got
            released = time.monotonic()
        thread.join(30)
        assert got[0][0] >= released
        assert got[0][1] is True


def test_who_lost_a_lock_notices_before_it_writes(home: Settings) -> None:
    with open_store(home, patience_seconds=60) as first, open_store(home, patience_seconds=60) as second:
        lock = locks.AdvisoryLock(first._session, locks.run_lock_key("work"))
        with contextlib.ExitStack() as at_end:
            at_end.callback(lock.release)
            assert lock.attempt()  # nobody looks after it
            kill_server(home)
            embedded.start_embedded(home.home)
            with second.run_lock("work"):  # at once, or after a session of its own that broke off
                with pytest.raises(ServiceUnavailable):
                    lock.attempt()  # the session is gone
                assert lock.attempt() is False  # and another one has the lock
            first.secure(lock)  # that one has ended, or its session is just being ended
            assert lock.attempt()
