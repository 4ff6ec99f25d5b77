"""Backup and restore: what comes back is what was there, and nothing that is not whole ever looks so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from quantplay.engines.tarball import write_tar
from quantplay.errors import InputError, IntegrityError, OutOfSpace
from quantplay.settings import Settings
from quantplay.store.backup import require_outside, write_backup
from quantplay.store.backup_folder import Backup, backups_in, check_backup, read_backup
from quantplay.store.dump import Server, embedded_server
from quantplay.store.registry import Store, open_store
from quantplay.store.restoring import restore_backup
from quantplay.store.table_digests import table_names
from tests.locked_models import lock_model

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY----- of nobody"


@pytest.fixture
def running(server: tuple[URL, Engine], store: Store) -> Server:
    """The server that `store` is a database of."""
    home = Path(str(server[0].query["host"])).parents[1]
    return embedded_server(home, store.engine.url)


def fill(store: Store, home: Path, name: str = "desk") -> str:
    """A locked package with a folder, an archive and a pinned file, an alias; the key of the package."""
    key = lock_model(store, name, folder=str(home / "packages"))
    folder = Path(store.package_named(key).path)
    (folder / "artifact").mkdir(parents=True)
    (folder / "artifact" / "model.gguf").write_bytes(os.urandom(70_000))
    (folder / "README.md").write_text(f"{name}\n")
    write_tar(folder, folder.with_name(f"{folder.name}.tar"), folder.name)
    stored = store.artifacts.put_file(folder / "artifact" / "model.gguf")
    store.pin(stored.sha256, "artifact of a locked run")
    store.set_alias(f"{name}/production", key, actor="ops", reason="first release")
    return key


def rows_of(store: Store) -> dict[str, list[str]]:
    """The oracle: every row of every table as text, sorted."""
    with store.engine.connect() as connection:
        return {
            name: sorted(connection.scalars(sa.text(f"select t::text from quantplay.{name} t")))
            for name in table_names(connection)
        }


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def cli(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    command = [sys.executable, "-m", "quantplay.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**kept, "QUANTPLAY_HOME": str(home)}, timeout=300, check=False
    )


@pytest.mark.slow
def test_everything_comes_back_on_another_machine(
    store: Store, running: Server, database_settings: Settings, new_home: Callable[[str], Path], tmp_path: Path
) -> None:
    keys = [fill(store, database_settings.home, name) for name in ("desk", "shop")]
    (database_settings.home / "owners.yaml").write_text("people: []\n")
    (database_settings.home / "id_ed25519").write_text(PRIVATE)
    before, folder = rows_of(store), tmp_path / "backups"
    written = write_backup(store, running, folder, actor="ops")
    assert store.events(kind="backup.written")[-1].subject == written.name
    lock_model(store, "later")  # what happens after a backup is not in it

    home = new_home("elsewhere")
    done = cli(home, "show", "--json")  # opening a database makes its tables: it is empty all the same
    assert done.returncode == 0, done.stderr
    done = cli(home, "restore", folder, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["restored"]
    assert told["name"] == written.name
    assert told["rows"] == {name: len(rows) for name, rows in before.items()}

    with open_store(Settings(**{**vars(database_settings), "home": home, "database_url": None, "artifacts_url": str(home / "artifacts")})) as restored:  # fmt: skip
        after = rows_of(restored)
        assert after.pop("events")[: len(before["events"])] == before.pop("events")
        assert after == before
        assert restored.verify_events() == ()
        assert restored.events()[-1].kind == "backup.restored"
        assert restored.database_id == store.database_id
        assert {entry.key for entry in restored.find_packages()} == set(keys)
        assert restored.package_named("desk/production").key == keys[0]
        for sha256 in written.record.sizes:
            if any(sha256 == file.sha256 for file in written.record.files):
                restored.artifacts.verify(sha256)
                assert restored.pins_of(sha256)
    assert bytes_below(home / "packages") == bytes_below(database_settings.home / "packages")
    everything = b"".join(path.read_bytes() for path in (folder, home) for path in path.rglob("*") if path.is_file())
    assert PRIVATE.encode() not in everything

    done = cli(home, "restore", folder)  # not a second time
    assert done.returncode == 2
    assert "empty database only" in done.stderr
    cli(home, "down")


def test_a_second_backup_copies_only_what_is_new(
    store: Store, running: Server, database_settings: Settings, tmp_path: Path
) -> None:
    fill(store, database_settings.home)
    first = write_backup(store, running, tmp_path / "b", actor="ops")
    old = {path: path.stat().st_ino for path in (tmp_path / "b" / "sha256").rglob("*") if path.is_file()}
    fill(store, database_settings.home, "shop")
    second = write_backup(store, running, tmp_path / "b", actor="ops")
    now = {path: path.stat().st_ino for path in (tmp_path / "b" / "sha256").rglob("*") if path.is_file()}
    assert old.items() < now.items()
    assert set(first.record.sizes) < set(second.record.sizes)
    assert {path.name for path in now} == set(second.record.sizes)
    assert [one.name for one in backups_in(tmp_path / "b")] == sorted([first.name, second.name])
    for one in (first, second):
        check_backup(one)
        assert read_backup(tmp_path / "b", one.name) == one


def test_what_is_damaged_is_found_and_mended_by_the_next_backup(
    store: Store, running: Server, database_settings: Settings, tmp_path: Path, new_home: Callable[[str], Path]
) -> None:
    fill(store, database_settings.home)
    backup = write_backup(store, running, tmp_path / "b", actor="ops")
    victim = next(
        path for path in (tmp_path / "b" / "sha256").rglob("*") if path.is_file() and path.stat().st_size > 60_000
    )
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    home = new_home("damaged")
    target = Settings(
        **{**vars(database_settings), "home": home, "database_url": None, "artifacts_url": str(home / "artifacts")}
    )
    with pytest.raises(IntegrityError, match="not whole"):
        restore_backup(backup, target, actor="ops")
    assert not (home / "artifacts").exists()
    write_backup(store, running, tmp_path / "b", actor="ops")
    check_backup(backup)
    (backup.folder / "backup.json").write_text((backup.folder / "backup.json").read_text().replace('"ops"', '"eve"'))
    with pytest.raises(IntegrityError, match="changed"):
        read_backup(tmp_path / "b", backup.name)
    cli(home, "down")


def test_nothing_is_backed_up_that_is_not_whole(
    store: Store, running: Server, database_settings: Settings, tmp_path: Path
) -> None:
    fill(store, database_settings.home)
    store.pin("ab" * 32, "artifact of a locked run")
    with pytest.raises(IntegrityError, match="1 pinned files are missing") as caught:
        write_backup(store, running, tmp_path / "b", actor="ops")
    assert caught.value.faults[0].value == "ab" * 32
    with store.engine.begin() as connection:
        connection.execute(sa.text("alter table quantplay.events disable trigger all"))
        connection.execute(sa.text("update quantplay.events set actor = 'eve' where seq = 1"))
    with pytest.raises(IntegrityError, match="event chain is broken"):
        write_backup(store, running, tmp_path / "b", actor="ops")
    with pytest.raises(InputError, match="no backup"):
        backups_in(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b" / "partial").iterdir()] == []


def test_a_folder_inside_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    require_outside(tmp_path / "home2", tmp_path / "home")
    for inside in ("home", "home/backups", "link/backups"):
        with pytest.raises(InputError, match="lost with it"):
            require_outside(tmp_path / inside, tmp_path / "home")


def test_a_full_disk_is_one_clear_error(
    store: Store, running: Server, database_settings: Settings, small_disk: Path
) -> None:
    for name in ("desk", "shop", "mail"):
        fill(store, database_settings.home, name)
    filler = small_disk / "filler"
    for left in (20_000, 150_000):  # full while the tables are written, full while a file is copied
        filler.write_bytes(bytes((1 << 20) - left - 20_000))
        with pytest.raises(OutOfSpace, match="full"):
            write_backup(store, running, small_disk / "b", actor="ops")
        with pytest.raises(InputError, match="no backup"):
            backups_in(small_disk / "b")
        assert not list((small_disk / "b" / "partial").iterdir())


def test_two_at_once(store: Store, running: Server, database_settings: Settings, tmp_path: Path) -> None:
    fill(store, database_settings.home)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: write_backup(store, running, tmp_path / "b", actor="ops"), range(2)))
    assert {one.name for one in made} <= {one.name for one in backups_in(tmp_path / "b")}
    for one in backups_in(tmp_path / "b"):
        check_backup(one)


KILLED = """
import os, pathlib, signal, sys
from quantplay.store import backup, backup_folder, dump, restoring
module, name, after = sys.argv[1].split(":")
module = {"backup": backup, "restoring": restoring, "dump": dump}[module]
real, calls = getattr(module, name), []
def killed(*arguments, **options):
    calls.append(1)
    if len(calls) > int(after):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(module, name, killed)
if name == "restore":
    setattr(module, name, real)
    import subprocess
    popen = subprocess.Popen
    class Killing(popen):  # a pipe that ends in the middle, because its writer is dead
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            if options.get("stdin") != subprocess.PIPE:
                return
            write = self.stdin
            class Pipe:
                def __enter__(self): return self
                def __exit__(self, *error): write.close()
                def write(self, data):
                    write.write(data[: len(data) // 2]); write.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
            self.stdin = Pipe()
    subprocess.Popen = Killing
from quantplay.cli import main
sys.argv = ["quantplay", *sys.argv[2:]]
main()
"""


@pytest.fixture
def embedded_home(new_home: Callable[[str], Path]) -> Iterator[Path]:
    home = new_home("source")
    yield home
    cli(home, "down")


def killed(home: Path, where: str, *arguments: object) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    command = [sys.executable, "-c", KILLED, where, *map(str, arguments)]
    done = subprocess.run(
        command, env={**kept, "QUANTPLAY_HOME": str(home)}, timeout=300, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.slow
def test_kill_9_in_the_middle_leaves_nothing_that_looks_whole(
    embedded_home: Path, make_settings: Callable[..., Settings], new_home: Callable[[str], Path], tmp_path: Path
) -> None:
    with open_store(make_settings(None, embedded_home)) as store:
        fill(store, embedded_home)
    folder = tmp_path / "b"
    for where in ("backup:dump:0", "backup:copy_file:0", "backup:flush:0"):
        killed(embedded_home, where, "backup", folder)
        with pytest.raises(InputError, match="no backup"):
            backups_in(folder)
    done = cli(embedded_home, "backup", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "partial").iterdir()] == []  # swept: their processes are gone
    backup = only(backups_in(folder))
    check_backup(backup)

    home = new_home("target")
    for where in ("restoring:copy_file:0", "restoring:restore:0"):
        killed(home, where, "restore", folder)
        done = cli(home, "show", "--json")
        assert json.loads(done.stdout)["runs"] == []
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "quantplay.cli", "restore", str(folder)], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "QUANTPLAY_HOME": str(home)},
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [one.communicate(timeout=300)[1].decode() for one in both]
    assert sorted(one.returncode for one in both) == [0, 2], said
    with open_store(make_settings(None, home)) as store:
        assert store.verify_events() == ()
        assert len(store.find_packages()) == 1
    cli(home, "down")


def only(found: tuple[Backup, ...]) -> Backup:
    (one,) = found
    return one


def test_a_server_of_ones_own_has_its_own_tools(database_settings: Settings, tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    for command in ("backup", "restore"):
        done = subprocess.run(
            [sys.executable, "-m", "quantplay.cli", command, str(tmp_path / "b")], capture_output=True, text=True, check=False,
            env={**kept, "QUANTPLAY_HOME": str(tmp_path), "QUANTPLAY_DATABASE_URL": str(database_settings.database_url)},
        )  # fmt: skip
        assert done.returncode == 2
        assert "docs/backup.md" in done.stderr
