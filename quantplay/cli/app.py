"""The commands and their options, nothing else: `--help` answers at once because each command's module is imported late.

To add a command: a module with a `command` function that returns the exit code, and a few lines here or in one of the
`*_app.py` files, whose commands are listed after these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantplay.cli.live_app import live
from quantplay.cli.registry_app import registry
from quantplay.cli.starting import AsJson, start
from quantplay.cli.system_app import system
from quantplay.cli.team_app import team

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


app.add_typer(live)
app.add_typer(system)
app.add_typer(team)
app.add_typer(registry, name="registry")
