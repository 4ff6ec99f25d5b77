"""`quantplay registry ...`: the commands and their options, as in app.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.starting import AsJson, start

PackageName = Annotated[
    str,
    typer.Argument(
        metavar="PACKAGE", help="First characters of a locked package's key, or its alias.", show_default=False
    ),
]
Base = Annotated[
    str | None, typer.Option(metavar="DIGEST", help="First characters of the full-precision model's digest.")
]
Runtime = Annotated[str | None, typer.Option(help="llama.cpp, llama.cpp-server, vllm or transformers.")]
Type = Annotated[str | None, typer.Option("--type", help="Serving type, such as Q4_K_M.")]
Owner = Annotated[str | None, typer.Option(help="Part of an owner's name.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")]
FoldedInto = Annotated[
    str | None, typer.Option(metavar="WHAT", help="standard, calibration, evaluation_item or documentation.")
]
State = Annotated[str | None, typer.Option(help="confirmed, stale, regressed; unvalidated: imported, not measured.")]

registry = typer.Typer(
    help="Look up what is recorded, across runs.", invoke_without_command=True, rich_markup_mode=None
)


@registry.callback()
def packages(context: typer.Context, json: AsJson = False) -> None:
    """List locked packages and how each stands. Against this machine's stack; or another list, by name."""
    if context.invoked_subcommand is None:
        start("packages", json=json)


@registry.command()
def incidents(
    close: Annotated[str | None, typer.Option(metavar="ID", help="Close this one; its first characters.")] = None,
    reason: Annotated[str | None, typer.Option(help="What ended it; needed with --close.")] = None,
    lesson: Annotated[str | None, typer.Option(metavar="TEXT", help="What was learned; needed with --close.")] = None,
    folded_into: FoldedInto = None,
    where: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="Where there: a version, an item's id, a page, a commit.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List what went wrong with locked packages. A regression opens one; a person closes it, with what was learned."""
    start("incidents", close=close, reason=reason, lesson=lesson, folded_into=folded_into, where=where, json=json)


@registry.command()
def lessons(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="In the lesson, what happened, its reference or model.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Of the incident: regression, live rollback.")] = None,
    model: Annotated[str | None, typer.Option(help="A plan's name, a model's source, or its digest.")] = None,
    folded_into: FoldedInto = None,
    json: AsJson = False,
) -> None:
    """List what was learned from incidents. Where each lesson was folded in; and how many regressions users saw first."""
    start("lessons", text=text, kind=kind, model=model, folded_into=folded_into, json=json)


@registry.command()
def funnel(json: AsJson = False) -> None:
    """Count where models leave the playbook. The play down the side, across how many runs and models, and with what outcome."""
    start("funnel", json=json)


@registry.command()
def baselines(
    revoke: Annotated[
        str | None, typer.Option(metavar="KEY", help="Never reuse this one again; its first characters.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is revoked; needed with --revoke.")] = None,
    json: AsJson = False,
) -> None:
    """List the baselines that may be reused, and until when. A run measures an expired or revoked one again."""
    start("registry", revoke=revoke, reason=reason, json=json)


@registry.command("list")
def list_packages(
    state: State = None,
    runtime: Runtime = None,
    kind: Type = None,
    owner: Owner = None,
    base: Base = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List locked packages and how each stands. All of them, or those that are like what the options say."""
    start("packages", json=json, state=state, runtime=runtime, type=kind, owner=owner, base=base, limit=limit)


@registry.command("find")
def find_packages(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="In name, use case, model, owners, type or aliases.")
    ] = None,
    base: Base = None,
    runtime: Runtime = None,
    hardware: Annotated[str | None, typer.Option(help="Part of a processor's or accelerator's name.")] = None,
    bits: Annotated[int | None, typer.Option(min=1, max=32, help="Whole bits a weight; 4 finds Q4_K_M.")] = None,
    use_case: Annotated[str | None, typer.Option(help="Part of the plan's use case.")] = None,
    state: State = None,
    kind: Type = None,
    owner: Owner = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """Find locked packages. By model, runtime, hardware, bits, use case or any text; all that is given has to hold."""
    start(
        "packages", json=json, looking=True, text=text, base=base, runtime=runtime, hardware=hardware, bits=bits,
        use_case=use_case, state=state, type=kind, owner=owner, limit=limit,
    )  # fmt: skip


@registry.command("show")
def show_package(package: PackageName, json: AsJson = False) -> None:
    """Show one locked package in full. What it is, its gate, signatures, standing, where it serves, how it came about."""
    start("registry_show", package=package, json=json)


@registry.command("compare")
def compare_packages(
    packages: Annotated[
        list[str], typer.Argument(metavar="PACKAGE...", help="Two or more keys or aliases.", show_default=False)
    ],
    json: AsJson = False,
) -> None:
    """Set locked packages side by side. Drop by drop, size, speed, memory and how each stands."""
    start("registry_compare", packages=packages, json=json)


@registry.command("history")
def model_history(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A plan's name, a model's source, or its digest.", show_default=False),
    ],
    json: AsJson = False,
) -> None:
    """Tell what happened to a model. Every run and package in time, and what took whose place."""
    start("registry_history", model=model, json=json)


@registry.command("alias")
def name_package(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="With a slash: support-desk/production.", show_default=False)
    ] = None,
    package: Annotated[
        str | None, typer.Argument(metavar="[PACKAGE]", help="What it stands for from now on.", show_default=False)
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; needed with PACKAGE, and kept.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="What every name stands for; so without NAME too.")] = False,
    json: AsJson = False,
) -> None:
    """Name a locked package, or show names. What a name stood for before is kept; NAME alone shows that."""
    start("alias", name=name, package=package, reason=reason, list_all=list_all, json=json)


@registry.command("export")
def export_packages(
    csv: Annotated[
        Path, typer.Option("--csv", metavar="FILE", help="Where it goes; - is standard output.", show_default=False)
    ],
) -> None:
    """Write every locked package as a row. For a spreadsheet; docs/registry.md says how to have it in pandas."""
    start("registry_export", csv=csv)


@registry.command("push")
def push_package(
    package: PackageName,
    mlflow: Annotated[
        str, typer.Option("--mlflow", metavar="URI", help="Address of the MLflow server.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model there; the plan's by default.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a locked package known to an MLflow registry. A version with its digests; the files stay where they are."""
    start("registry_push", package=package, mlflow=mlflow, name=name, json=json)
