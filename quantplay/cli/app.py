"""The commands and their options, nothing else: `--help` answers at once because each command's module is imported late.

To add a command: a module with a `command` function that returns the exit code, and a few lines here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.registry_app import registry
from quantplay.cli.starting import AsJson, start

app = typer.Typer(
    name="quantplay",
    help="Take a language model from full precision to a quantized one that a team can trust.",
    epilog="Exit codes: 0 locked or fine, 10-17 a verdict, 2 bad plan or input, 3 something missing, 1 our fault "
    "(docs/outcomes.md).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing boxes around the help costs another 0.15 s
)

PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a YAML file.", show_default=False)]


def show_version(value: bool) -> None:
    if value:
        from quantplay import __version__

        typer.echo(f"quantplay {__version__}")
        raise typer.Exit


app.add_typer(registry, name="registry")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Take a language model from full precision to a quantized one that a team can trust."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where plan.yaml goes; made if need be.")] = Path(),
    from_pilot: Annotated[
        bool, typer.Option("--from-pilot", help="The pilot's plan with its model and data, to replace piece by piece.")
    ] = False,
) -> None:
    """Write a commented plan.yaml to start from. Overwrites nothing."""
    start("init", folder=folder, from_pilot=from_pilot)


@app.command()
def check(plan: PlanPath, json: AsJson = False) -> None:
    """Check a plan and all it points to. Lists every fault at once, and says what its gate will be able to tell."""
    start("check", plan=plan, json=json)


@app.command()
def plan(
    plan: PlanPath,
    target: Annotated[
        str | None,
        typer.Option(metavar="CHIP", help="Plan for a chip of the table, such as H100, instead of this one."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="llama.cpp, vllm or transformers; the plan's by default.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Predict memory and speed of every candidate, ranked. Builds nothing; says what holds it up and what speaks against it."""
    start("plan_command", plan=plan, target=target, runtime=runtime, json=json)


@app.command()
def run(
    plan: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="The plan, a YAML file or its address.", show_default=False)
    ] = None,
    update_of: Annotated[
        str | None, typer.Option(metavar="RUN", help="Update this locked run; all that decides stays as it was.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The new model's folder; the plan is that run's.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the update's plan goes; beside the plan by default.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Run a plan through the plays. Ends with the hand-off package, or with the verdict that stops it."""
    start("run", plan=plan, update_of=update_of, model=model, out=out, json=json)


@app.command()
def pilot(
    plan: Annotated[
        str,
        typer.Argument(metavar="[PLAN]", help="pass, close (mixed precision follows) or broken (training follows)."),
    ] = "pass",
    live: Annotated[
        bool, typer.Option("--live", help="Serve its package, swap in a damaged model, see it taken back: play 8.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the PNG of --live goes; below quantplay's home by default."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the example of the repository. A small real model, from full precision to the package; with --live under traffic."""
    start("pilot", name=plan, live=live, picture=picture, json=json)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A folder with safetensors, or a .gguf file.", show_default=False)],
    tasks: Annotated[
        list[Path], typer.Argument(help="Items as JSONL, or lm-eval task files (YAML).", show_default=False)
    ],
    runtime: Annotated[
        str | None,
        typer.Option(help="transformers, llama.cpp, llama.cpp-server or vllm; by default transformers or llama.cpp."),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=1024, help="Prompts that run together; of a server, requests at once.")
    ] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, max=65536, help="Longest answer in tokens.")] = 64,
    context: Annotated[int, typer.Option(min=16, max=1048576, help="Prompt and answer together, in tokens.")] = 512,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="An answer ends here; may be repeated; \\n is a line break and what holds without this.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure speed too (.gguf, or a server).")] = False,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the source model; a served .gguf file needs its tokenizer.")
    ] = None,
    allow_code: Annotated[
        list[str] | None, typer.Option(help="Name of a task file that may run Python code; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure one model on your own tasks. No plan needed; quality by slice with intervals, time and memory."""
    start(
        "evaluate", json=json, model=model, tasks=tasks, runtime=runtime, batch=batch, max_tokens=max_tokens,
        context_tokens=context, stop=tuple(stop or ()), speed=speed, allow_code=tuple(allow_code or ()), tokenizer=tokenizer,
    )  # fmt: skip


@app.command()
def show(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="First characters of a run's id; without it, a table of runs.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs in the table.")] = 20,
    answers: Annotated[
        int, typer.Option(metavar="N", min=0, max=100_000, help="N answers of RUN that changed too, lost ones first.")
    ] = 0,
    json: AsJson = False,
) -> None:
    """Show what was run. All runs, or one with its plays, gate, reasons and package."""
    start("show", run=run, limit=limit, answers=answers, json=json)


@app.command()
def sign(
    run: Annotated[str, typer.Argument(metavar="RUN", help="First characters of a run's id.", show_default=False)],
    role: Annotated[
        str | None, typer.Option(help="ml_engineer, product_owner; engineering_manager before training.")
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Say yes.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Say no; the run ends.")] = False,
    rework: Annotated[bool, typer.Option("--rework", help="Say no, it has to be done better; the run ends.")] = False,
    comment: Annotated[str, typer.Option(help="Why, in a sentence; it is signed too.")] = "",
    key: Annotated[Path | None, typer.Option(help="Your SSH key; ~/.ssh/id_ed25519 by default.")] = None,
    request: Annotated[
        Path | None, typer.Option(help="Sign nothing; write the text to this file, for somebody elsewhere.")
    ] = None,
    text: Annotated[Path | None, typer.Option(help="A text that --request wrote, signed by its person.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The signature over it, as ssh-keygen wrote it.")] = None,
    json: AsJson = False,
) -> None:
    """Say yes or no to a decision or a package. With an SSH key; the run goes on when every signature is there."""
    said = [word for word, given in {"approve": approve, "reject": reject, "rework": rework}.items() if given]
    if len(said) > 1:
        raise typer.BadParameter("one of --approve, --reject and --rework")
    start(
        "sign", json=json, run=run, role=role, verdict=next(iter(said), None), comment=comment, key=key, request=request,
        text=text, signature=signature,
    )  # fmt: skip


@app.command()
def verify(
    package: Annotated[Path, typer.Argument(help="A hand-off package: folder or .tar.", show_default=False)],
    manifest: Annotated[
        str | None, typer.Option(help="SHA-256 of manifest.json as the run showed it; finds a package rewritten whole.")
    ] = None,
    registry: Annotated[
        bool, typer.Option("--registry", help="Ask the product database for that digest, instead of giving it.")
    ] = False,
    owners: Annotated[
        Path | None, typer.Option(help="Your own owners file; proves who signed, which the package's copy can't.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Check a hand-off package offline. Every file and digest, and that the decision follows from the results."""
    start("verify", package=package, manifest=manifest, registry=registry, owners=owners, json=json)


@app.command()
def revalidate(
    package: Annotated[
        str,
        typer.Argument(
            metavar="[PACKAGE]", help="First characters of a locked package's key, or its alias.", show_default=False
        ),
    ] = "",
    all: Annotated[bool, typer.Option("--all", help="Every locked package.")] = False,  # noqa: A002 - the option's name
    only_if_changed: Annotated[
        bool, typer.Option("--only-if-changed", help="Skip what is confirmed and whose stack is as it was then.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Measure locked packages again on today's stack. Same harness, very bytes; confirmed, stale or regressed, and why."""
    start("revalidate", package=package, all=all, only_if_changed=only_if_changed, json=json)


@app.command()
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


@app.command()
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
    """Say how much of what is served is validated and quantized. Models by volume, time to quantize, savings, what was declined."""
    start("adoption", since=since, volume=volume, picture=picture, html=html, json=json)


standards = typer.Typer(
    help="The organisation's rules for plans: show, check, raise them.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(standards, name="standards")
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


@app.command()
def replay(
    package: Annotated[Path, typer.Argument(help="A hand-off package: folder or .tar.", show_default=False)],
    sources: Annotated[
        Path | None,
        typer.Option(
            help="Folder with model/ and calibration/, where the package does not carry them.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the artifact in this file.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Make a package's artifact again. Offline, from its sources and recipe; says whether the same bytes came out."""
    start("replay", package=package, sources=sources, out=out, json=json)


@app.command("import")
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


@app.command("release-check")
def release_check(
    package: Annotated[Path, typer.Argument(help="A package's folder or .tar.", show_default=False)],
    owners: Annotated[
        Path | None, typer.Option(help="Whose signatures count; by default QUANTPLAY_OWNERS.", show_default=False)
    ] = None,
    manifest: Annotated[str | None, typer.Option(help="SHA-256 its manifest must have.", show_default=False)] = None,
    internal: Annotated[
        bool, typer.Option("--internal", help="Accept profile internal too, which nobody signs.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the answer as JUnit XML too.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Say whether a package may serve. Offline, for pipelines; exit code 0 only where everything holds."""
    start("release_check", json=json, package=package, owners=owners, manifest=manifest, internal=internal, junit=junit)


@app.command()
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
    owners: Annotated[
        Path | None, typer.Option(help="Whose signatures count; by default QUANTPLAY_OWNERS.", show_default=False)
    ] = None,
    manifest: Annotated[str | None, typer.Option(help="SHA-256 its manifest must have.", show_default=False)] = None,
    internal: Annotated[
        bool, typer.Option("--internal", help="Accept profile internal too, which nobody signs.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "released",
    json: AsJson = False,
) -> None:
    """Serve a package's model beside full precision. Checks it first; refuses what may not be released."""
    start(
        "release", json=json, package=package, endpoint=endpoint, full_precision=full_precision, quantized=quantized,
        weight=weight, steps=steps, owners=owners, manifest=manifest, internal=internal, reason=reason,
    )  # fmt: skip


@app.command()
def rollback(
    endpoint: Annotated[str, typer.Argument(metavar="NAME", help="The endpoint.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    json: AsJson = False,
) -> None:
    """Give everybody full precision again, at once. Always possible; going back in takes a new release."""
    start("rollback", endpoint=endpoint, reason=reason, json=json)


@app.command()
def traffic(
    endpoint: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One endpoint, with its history.")] = None,
    json: AsJson = False,
) -> None:
    """Show who answers where. Endpoints, shares of traffic, and how they came about."""
    start("traffic", endpoint=endpoint, json=json)


@app.command()
def judge(
    endpoint: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One endpoint; all by default.")] = None,
    every: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two looks.")] = 60,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    json: AsJson = False,
) -> None:
    """Judge what is live. Takes a bad model back, gives a good one more traffic; needs no Prefect."""
    start("judge", endpoint=endpoint, every=every, once=once, json=json)


@app.command()
def drift(
    endpoint: Annotated[str, typer.Argument(metavar="NAME", help="The endpoint.", show_default=False)],
    day: Annotated[
        str | None, typer.Option(metavar="DAY", help="As 2026-11-21, UTC; yesterday by default.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare a day's traffic with what is usual. And with the calibration set; no text of a prompt is kept."""
    start("drift", endpoint=endpoint, day=day, json=json)


@app.command()
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


@app.command()
def migrate(json: AsJson = False) -> None:
    """Bring the product database up to date and exit. What a deployment does once, before anything uses it."""
    start("migrate", json=json)


artifacts = typer.Typer(
    help="What lies in the artifact store and why; what could go.", invoke_without_command=True, rich_markup_mode=None
)
app.add_typer(artifacts, name="artifacts")
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


events = typer.Typer(help="Who did what when; is that chain whole.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(events, name="events")


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


@app.command()
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


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the backups lie.", show_default=False)],
    backup: Annotated[
        str | None, typer.Option(metavar="NAME", help="This one; by default the newest.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring a backup back, into an empty database only. Everything is verified before and after."""
    start("restore", folder=folder, backup=backup, json=json)


@app.command()
def up(
    workers: Annotated[bool, typer.Option(help="Also start this machine's workers.")] = True,
    json: AsJson = False,
) -> None:
    """Make everything the Prefect UI needs. Database, server, pools, workers, deployments; once more changes nothing."""
    start("up", workers=workers, json=json)


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="cpu: orchestration; gpu: heavy plays, one at a time.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Its name in the UI; HOST-POOL by default.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of its jobs, as `nvidia-smi -L` names it; the first by default.")
    ] = None,
) -> None:
    """Pull runs from a work pool until told to stop. The first signal lets running jobs finish, a second ends them."""
    start("worker", pool=pool, name=name, device=device)


@app.command()
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


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 4300,
    provider_keys: Annotated[
        bool, typer.Option("--provider-keys", help="Print the OpenID provider as the owners file lists it, and end.")
    ] = False,
) -> None:
    """Show the registry as web pages. Models, runs that wait for signatures, endpoints, incidents, the funnel; until it is stopped."""
    start("web", host=host, port=port, provider_keys=provider_keys)


@app.command()
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


@app.command()
def down(
    drain: Annotated[bool, typer.Option("--drain", help="Let running jobs finish first.")] = False,
    json: AsJson = False,
) -> None:
    """Stop what quantplay started here. Its workers, its Prefect server and its database; the data stays."""
    start("down", drain=drain, json=json)
