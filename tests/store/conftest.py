"""A real PostgreSQL for the whole run; every test gets a database of its own, cloned from a migrated one."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from quantplay.settings import Settings, settings
from quantplay.store.embedded import server_pid, start_embedded
from quantplay.store.registry import Store, open_store
from quantplay.store.schema import ensure_schema

sys.path.insert(0, str(Path(__file__).parent))  # store_samples.py


@pytest.fixture(scope="session")
def new_home() -> Iterator[Callable[[str], Path]]:
    """Makes a home for an embedded database, stopped and removed at the end.

    In memory where there is a place for it, so that a busy disk does not slow the tests. Not under pytest's own folder:
    as root that is closed to the account PostgreSQL runs under.
    """
    made: list[Path] = []
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30 else None

    def make(name: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="quantplay-store-", dir=place))
        folder.chmod(0o755)
        made.append(folder)
        return folder / name

    yield make
    for folder in made:
        for data in folder.glob("*/postgres"):
            pid = server_pid(data.parent)
            if pid is not None:
                os.kill(pid, signal.SIGQUIT)  # at once: nothing of it is needed any more
                with contextlib.suppress(psutil.Error):
                    psutil.Process(pid).wait(10)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(new_home: Callable[[str], Path]) -> Iterator[tuple[URL, Engine]]:
    """A running server with a migrated database `template`, and an engine that may create databases."""
    url = start_embedded(new_home("server"))
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("create database template"))
        # Nothing here has to survive a power cut.
        connection.execute(sa.text("alter system set fsync = off"))
        connection.execute(sa.text("select pg_reload_conf()"))
    template = sa.create_engine(url.set(database="template"))
    ensure_schema(template)
    template.dispose()
    yield url, engine
    engine.dispose()


NUMBERS = itertools.count(1)


@pytest.fixture
def new_database(server: tuple[URL, Engine]) -> Iterator[Callable[..., str]]:
    """Makes a database and gives its URL; `empty`: without tables."""
    url, engine = server
    made: list[str] = []

    def make(*, empty: bool = False) -> str:
        name = f"test_{os.getpid()}_{next(NUMBERS)}"
        made.append(name)
        with engine.connect() as connection:
            template = "template0" if empty else "template strategy file_copy"
            connection.execute(sa.text(f"create database {name} template {template}"))
        return url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)

    yield make
    with engine.connect() as connection:
        for name in made:
            connection.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(database_url: str | None, home: Path | None = None) -> Settings:
        home = home or tmp_path / "home"
        return Settings(
            home=home,
            cache=home / "cache",
            database_url=database_url,
            artifacts_url=(home / "artifacts").as_uri(),
            threads=1,
            owners=Path("/nonexistent/owners.yaml"),
            prefect_api_url=None,
        )

    return make


@pytest.fixture
def database_settings(new_database: Callable[..., str], make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(new_database())


@pytest.fixture
def store(database_settings: Settings) -> Iterator[Store]:
    with open_store(database_settings) as opened:
        yield opened


@pytest.fixture
def ask(
    store: Store, database_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Runs a command's module against this test's database, in this process; standard output, and the exit code checked."""
    import store_samples as samples

    import quantplay.envelope.hardware
    from quantplay.cli import console as consoles
    from quantplay.cli.failures import exit_code_of

    monkeypatch.setenv("QUANTPLAY_DATABASE_URL", str(database_settings.database_url))
    monkeypatch.setenv("QUANTPLAY_HOME", str(database_settings.home))
    # A stack of its own takes seconds to measure; how packages stand on another one is test_standing's.
    monkeypatch.setattr(quantplay.envelope.hardware, "measure_fingerprint", lambda threads: samples.FINGERPRINT)

    settings.cache_clear()

    def run(command: str, *, code: int = 0, json: bool = False, **arguments: Any) -> str:
        consoles.console.cache_clear()
        consoles.errors_console.cache_clear()
        found = exit_code_of(command, arguments, json=json)
        said = capsys.readouterr()
        assert found == code, said
        return said.out if code == 0 or json else said.err

    yield run
    settings.cache_clear()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)
