"""`quantplay pilot`: the example of the repository, which is where the pilot's model and data lie."""

from __future__ import annotations

from pathlib import Path

from quantplay.errors import InputError

PLAN = Path("examples", "pilot", "plan-pass.yaml")


def command(json: bool = False) -> int:
    from quantplay.cli.run import command as run

    return run(find_plan(), json=json)


def find_plan() -> Path:
    """The pilot's plan: below the current folder, or beside the installed sources."""
    for root in (Path.cwd(), Path(__file__).parents[2]):
        if (root / PLAN).is_file():
            return root / PLAN
    raise InputError(
        "the pilot is not here", value=Path.cwd(), allowed=f"a clone of quantplay's repository, with {PLAN}",
        fix="clone the repository and run this there, or `quantplay init` for a plan of your own",
    )  # fmt: skip
