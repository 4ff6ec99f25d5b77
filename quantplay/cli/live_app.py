"""What is live: releasing, judging, rolling back, and the gateways.

Commands and their options, as in app.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.starting import AsJson, start

live = typer.Typer(rich_markup_mode=None)
OwnersFile = Annotated[
    Path | None, typer.Option(help="Whose signatures count; by default QUANTPLAY_OWNERS.", show_default=False)
]
ManifestDigest = Annotated[str | None, typer.Option(help="SHA-256 its manifest must have.", show_default=False)]
AlsoInternal = Annotated[bool, typer.Option("--internal", help="Accept profile internal too, which nobody signs.")]


@live.command("release-check")
def release_check(
    package: Annotated[Path, typer.Argument(help="A package's folder or .tar.", show_default=False)],
    owners: OwnersFile = None,
    manifest: ManifestDigest = None,
    internal: AlsoInternal = False,
    junit: Annotated[Path | None, typer.Option(help="Write the answer as JUnit XML too.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Say whether a package may serve. Offline, for pipelines; exit code 0 only where everything holds."""
    start("release_check", json=json, package=package, owners=owners, manifest=manifest, internal=internal, junit=junit)


@live.command()
def release(
    package: Annotated[Path, typer.Argument(help="A package's folder or .tar, or its alias.", show_default=False)],
    endpoint: Annotated[str, typer.Option(metavar="NAME", help="What clients ask for.", show_default=False)],
    full_precision: Annotated[
        str, typer.Option(metavar="URL", help="Server of full precision, URL/v1 or URL/v1#MODEL.", show_default=False)
    ],
    quantized: Annotated[
        str, typer.Option(metavar="URL", help="Server of the package's model, likewise.", show_default=False)
    ],
    weight: Annotated[float, typer.Option(min=0, max=100, help="Percent of conversations it answers.")] = 5,
    steps: Annotated[str, typer.Option(help="Percentages it may rise to, one after the other.")] = "5,25,50,100",
    owners: OwnersFile = None,
    manifest: ManifestDigest = None,
    internal: AlsoInternal = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "released",
    json: AsJson = False,
) -> None:
    """Serve a package's model beside full precision. Checks it first; refuses what may not be released."""
    start(
        "release", json=json, package=package, endpoint=endpoint, full_precision=full_precision, quantized=quantized,
        weight=weight, steps=steps, owners=owners, manifest=manifest, internal=internal, reason=reason,
    )  # fmt: skip


@live.command()
def rollback(
    endpoint: Annotated[str, typer.Argument(metavar="NAME", help="The endpoint.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    json: AsJson = False,
) -> None:
    """Give everybody full precision again, at once. Always possible; going back in takes a new release."""
    start("rollback", endpoint=endpoint, reason=reason, json=json)


@live.command()
def traffic(
    endpoint: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One endpoint, with its history.")] = None,
    json: AsJson = False,
) -> None:
    """Show who answers where. Endpoints, shares of traffic, and how they came about."""
    start("traffic", endpoint=endpoint, json=json)


@live.command()
def judge(
    endpoint: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One endpoint; all by default.")] = None,
    every: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two looks.")] = 60,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    json: AsJson = False,
) -> None:
    """Judge what is live. Takes a bad model back, gives a good one more traffic; needs no Prefect."""
    start("judge", endpoint=endpoint, every=every, once=once, json=json)


@live.command()
def drift(
    endpoint: Annotated[str, typer.Argument(metavar="NAME", help="The endpoint.", show_default=False)],
    day: Annotated[
        str | None, typer.Option(metavar="DAY", help="As 2026-11-21, UTC; yesterday by default.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare a day's traffic with what is usual. And with the calibration set; no text of a prompt is kept."""
    start("drift", endpoint=endpoint, day=day, json=json)


@live.command()
def gateway(
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Policies in a file; by default the product database's.")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where counts and requests are written; without it /metrics only."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8080,
    admin_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="/metrics on a port of its own, for this machine only.")
    ] = None,
    drift: Annotated[bool, typer.Option(help="Count what conversations are like, without their text.")] = True,
) -> None:
    """Answer clients from both arms of each endpoint. OpenAI-compatible; the first signal lets streams finish, a second ends them."""
    start("gateway", policy=policy, records=records, host=host, port=port, admin_port=admin_port, drift=drift)


@live.command()
def platform_gateway(
    mapping: Annotated[
        Path, typer.Argument(help="Which Services serve each endpoint's arms, a YAML file.", show_default=False)
    ],
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="Where Envoy's counters are read.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the routes here, for GitOps.", show_default=False)
    ] = None,
    kubectl: Annotated[bool, typer.Option("--kubectl", help="Apply the routes with kubectl.")] = False,
    every: Annotated[int, typer.Option(min=1, max=300, help="Seconds between two looks at the counters.")] = 15,
    once: Annotated[
        bool, typer.Option("--once", help="Write the routes now and end; without another place, print them.")
    ] = False,
) -> None:
    """Have the platform's own gateway split the traffic. Policies become HTTPRoutes (Gateway API), Envoy's counters reach the judge."""
    start("platform_gateway", mapping=mapping, prometheus=prometheus, out=out, kubectl=kubectl, every=every, once=once)
