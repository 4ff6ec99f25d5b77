"""From an exception to a message and an exit code: a panel on standard error, or JSON on standard output."""

from __future__ import annotations

import importlib
import json as json_library
import sys
from typing import TYPE_CHECKING, Any

from quantplay.cli import INTERRUPTED
from quantplay.errors import InputError, InternalError, QuantplayError

if TYPE_CHECKING:
    from pathlib import Path


def exit_code_of(command: str, arguments: dict[str, Any], *, json: bool) -> int:
    """Run a command's module and give its exit code. No exception of ours or of a library leaves this function."""
    try:
        module = importlib.import_module(f"quantplay.cli.{command}")
        return module.command(**arguments, json=json) if takes_json(module) else module.command(**arguments)
    except KeyboardInterrupt:
        say("[yellow]interrupted[/]; what was finished stays recorded")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except QuantplayError as error:
        tell(error, json=json)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - our own fault, whatever it is: say what to send us
        tell(internal(error, command), json=json)
        return InternalError.exit_code


def takes_json(module: Any) -> bool:
    return "json" in module.command.__annotations__


def say(markup: str) -> None:
    from quantplay.cli.console import errors_console

    errors_console().print(markup)


def tell(error: QuantplayError, *, json: bool) -> None:
    """Show an error to whoever asked."""
    if json:
        print(json_library.dumps({"error": body_of(error), "exit_code": error.exit_code}))
        return
    from rich.console import Group
    from rich.panel import Panel

    from quantplay.cli.console import errors_console
    from quantplay.cli.render_faults import error_view

    panel = Panel(Group(*error_view(error)), title=title_of(error), title_align="left", border_style="red")
    errors_console().print(panel)


def title_of(error: QuantplayError) -> str:
    from quantplay.outcomes import OUTCOMES, outcome_of_exit_code

    outcome = outcome_of_exit_code(error.exit_code)
    return f"{OUTCOMES[outcome].title if outcome else 'error'} (exit code {error.exit_code})"


def body_of(error: QuantplayError) -> dict[str, Any]:
    faults = error.faults if isinstance(error, InputError) else ()
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "value": None if error.value is None else str(error.value),
        "allowed": error.allowed,
        "fix": error.fix,
        "faults": [vars(fault) for fault in faults],
    }


def internal(error: Exception, command: str) -> InternalError:
    """Our fault: the traceback goes to a file, the message says which."""
    return InternalError(
        f"something went wrong inside quantplay: {type(error).__name__}: {error}",
        fix=f"send us {crash_file(error, command)} with what you were doing; it holds no data but the error text",
    )


def crash_file(error: Exception, command: str) -> str:
    """Where the traceback was written, for the message; where it can't be written, it is printed."""
    import platform
    import tempfile
    import traceback
    from datetime import UTC, datetime
    from pathlib import Path

    from quantplay import __version__

    now = datetime.now(UTC)
    text = "\n".join(
        [
            f"quantplay {__version__}, command {command}, {now.isoformat(timespec='seconds')}",
            f"Python {platform.python_version()} on {platform.platform()}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    name = f"{now:%Y%m%d-%H%M%S}-{command}.txt"
    for folder in (*crash_folder(), Path(tempfile.gettempdir()) / "quantplay-crashes"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return str(folder / name)
    sys.stderr.write(text)
    return "the traceback above"


def crash_folder() -> tuple[Path, ...]:
    """The place below the home; none where the settings themselves are at fault."""
    from quantplay.settings import settings

    try:
        return (settings().home / "crashes",)
    except InputError:
        return ()
