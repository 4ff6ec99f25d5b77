"""How a command line's command becomes a module's function, and the option that all of them have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]


def start(command: str, json: bool = False, **arguments: Any) -> None:
    """Run `quantplay.cli.COMMAND.command(**arguments)`; errors become messages and exit codes."""
    from quantplay.cli.failures import exit_code_of

    raise typer.Exit(exit_code_of(command, arguments, json=json))
