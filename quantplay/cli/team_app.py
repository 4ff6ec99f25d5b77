"""What an organisation looks at across runs: standards, audit, adoption, events, the past, the pages.

Commands and their options, as in app.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.starting import AsJson, start

team = typer.Typer(rich_markup_mode=None)
standards = typer.Typer(
    help="The organisation's rules for plans. Show, check, raise them.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
team.add_typer(standards, name="standards")
StandardsPath = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="A standards file; by default QUANTPLAY_STANDARDS.", show_default=False),
]


@standards.callback()
def standards_here(context: typer.Context, json: AsJson = False) -> None:
    """Show the rules that apply here. Or check a file, or see which locked models fall short of one."""
    if context.invoked_subcommand is None:
        start("standards", json=json)


@standards.command("show")
def standards_show(file: StandardsPath = None, json: AsJson = False) -> None:
    """Show the rules of a standards file. What applies to which runtime, use case and profile, and when to deviate."""
    start("standards", file=file, json=json)


@standards.command("check")
def standards_check(file: StandardsPath = None, json: AsJson = False) -> None:
    """Check a standards file. Lists every fault at once, with its line."""
    start("standards_check", file=file, json=json)


@standards.command("falls-short")
def standards_falls_short(file: StandardsPath = None, json: AsJson = False) -> None:
    """List the locked models that fall short of a standards file. Of what, by how much and the fix; before it is put in force."""
    start("standards_falls_short", file=file, json=json)


@team.command()
def audit(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN|PACKAGE|ENDPOINT", help="Its id, key or name; the first characters of an id or key do."
        ),
    ],
    backward: Annotated[
        bool, typer.Option("--backward", help="Start from a model that disappoints: rank what may be behind it.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Walk the whole checklist and the seven classic mistakes. Each answer with its owner and evidence; exit code 23 where a mistake is open."""
    start("audit", subject=subject, backward=backward, json=json)


@team.command()
def adoption(
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="First day, as 2026-10-01, UTC; thirty days by default.")
    ] = None,
    volume: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="FILE.csv or prometheus:URL; by default what our gateways counted."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the chart there too, as SVG.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all of it there too, as a web page.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Say how much of the traffic validated models serve. Quantized models by volume, time to quantize, savings, what was declined."""
    start("adoption", since=since, volume=volume, picture=picture, html=html, json=json)


events = typer.Typer(help="Who did what when; is that chain whole.", invoke_without_command=True, rich_markup_mode=None)
team.add_typer(events, name="events")


@events.callback()
def events_here(
    context: typer.Context,
    about: Annotated[
        str, typer.Option(metavar="RUN|PACKAGE|ENDPOINT", help="Only what is about it and its records.")
    ] = "",
    kind: Annotated[str, typer.Option(help="Only kinds that contain this, such as signed.")] = "",
    actor: Annotated[str, typer.Option(help="Only of those whose name contains this.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="The newest so many.")] = 50,
    json: AsJson = False,
) -> None:
    """Show who did what when, oldest first. From the chain in which every event holds the digest of the one before."""
    if context.invoked_subcommand is None:
        start("events", about=about, kind=kind, actor=actor, limit=limit, json=json)


@events.command("verify")
def events_verify(
    remembered: Annotated[
        list[str] | None, typer.Option(metavar="NUMBER:DIGEST", help="An event as noted elsewhere; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compute the whole chain again. Shows what was changed, left out or cut off behind quantplay's back."""
    start("events_verify", remembered=remembered or [], json=json)


@team.command("import")
def import_artifact(
    artifact: Annotated[
        Path, typer.Argument(help="A .gguf file, or a folder of quantized safetensors.", show_default=False)
    ],
    base: Annotated[
        str,
        typer.Option(metavar="MODEL", help="The full-precision model: a folder, or org/name.", show_default=False),
    ],
    commit: Annotated[
        str | None, typer.Option(help="Full commit of a base model on the hub.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called; the file's name by default.")] = None,
    origin: Annotated[str, typer.Option(help="Where it comes from, for the record.")] = "",
    json: AsJson = False,
) -> None:
    """Register what was quantized elsewhere. Reads it, runs nothing of it; unvalidated until a run has judged it."""
    start("import_artifact", json=json, artifact=artifact, base=base, commit=commit, name=name, origin=origin)


@team.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 4300,
    provider_keys: Annotated[
        bool, typer.Option("--provider-keys", help="Print the OpenID provider as the owners file lists it, and end.")
    ] = False,
) -> None:
    """Show the registry as web pages. Models, runs that wait for signatures, endpoints, incidents, the funnel; until it is stopped."""
    start("web", host=host, port=port, provider_keys=provider_keys)
