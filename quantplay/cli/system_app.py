"""The machine and what it keeps: services, workers, database, stored files, backups.

Commands and their options, as in app.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.starting import AsJson, start

system = typer.Typer(rich_markup_mode=None)


@system.command()
def doctor(
    watch: Annotated[
        bool, typer.Option("--watch", help="Look for changes of the stack instead, and tell the Prefect server.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, max=86400, help="Seconds between two looks of the watch.")] = 300,
    once: Annotated[bool, typer.Option("--once", help="Watch with one look and end.")] = False,
    json: AsJson = False,
) -> None:
    """Say what is here and what is missing. Each with the command that helps; changes nothing."""
    if watch:
        start("doctor_watch", every=every, once=once, json=json)
    start("doctor", json=json)


@system.command()
def migrate(json: AsJson = False) -> None:
    """Bring the product database up to date and exit. What a deployment does once, before anything uses it."""
    start("migrate", json=json)


@system.command()
def up(
    workers: Annotated[bool, typer.Option(help="Also start this machine's workers.")] = True,
    json: AsJson = False,
) -> None:
    """Make everything the Prefect UI needs. Database, server, pools, workers, deployments; once more changes nothing."""
    start("up", workers=workers, json=json)


@system.command()
def worker(
    pool: Annotated[str, typer.Option(help="cpu: orchestration; gpu: heavy plays, one at a time.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Its name in the UI; HOST-POOL by default.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of its jobs, as `nvidia-smi -L` names it; the first by default.")
    ] = None,
) -> None:
    """Pull runs from a work pool until told to stop. The first signal lets running jobs finish, a second ends them."""
    start("worker", pool=pool, name=name, device=device)


@system.command()
def down(
    drain: Annotated[bool, typer.Option("--drain", help="Let running jobs finish first.")] = False,
    json: AsJson = False,
) -> None:
    """Stop what quantplay started here. Its workers, its Prefect server and its database; the data stays."""
    start("down", drain=drain, json=json)


artifacts = typer.Typer(
    help="What lies in the artifact store and why; what could go.", invoke_without_command=True, rich_markup_mode=None
)
system.add_typer(artifacts, name="artifacts")
OlderThan = Annotated[int, typer.Option(metavar="DAYS", min=1, help="Not stored or used for so many days.")]


@artifacts.callback()
def artifacts_here(context: typer.Context, json: AsJson = False) -> None:
    """List stored files with what keeps each. Or remove what nothing keeps, by name."""
    if context.invoked_subcommand is None:
        start("artifacts", json=json)


@artifacts.command("list")
def artifacts_list(older_than: OlderThan = 30, json: AsJson = False) -> None:
    """List stored files with what keeps each. And folders of fetched plans, inputs and scratch; says what could go."""
    start("artifacts", older_than=older_than, json=json)


@artifacts.command("prune")
def artifacts_prune(
    older_than: OlderThan = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; show what would go.")] = False,
    json: AsJson = False,
) -> None:
    """Remove what nothing keeps. Never what is pinned, packaged, or of a run under way; each is looked up again before it goes."""
    start("artifacts", prune=True, older_than=older_than, dry_run=dry_run, json=json)


@system.command()
def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where backups lie; made if need be.", show_default=False)
    ],
    list_all: Annotated[bool, typer.Option("--list", help="Write nothing; list what is there.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; read every backup there again.")] = False,
    json: AsJson = False,
) -> None:
    """Back up database, pinned files and packages. Of one moment, whole or not at all; what the folder has is not copied again."""
    start("backup", folder=folder, list_all=list_all, check=check, json=json)


@system.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the backups lie.", show_default=False)],
    backup: Annotated[
        str | None, typer.Option(metavar="NAME", help="This one; by default the newest.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring a backup back, into an empty database only. Everything is verified before and after."""
    start("restore", folder=folder, backup=backup, json=json)
