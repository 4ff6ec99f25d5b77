"""`quantplay doctor`: what this machine has, what is missing, and the command that helps. Starts and changes nothing."""

from __future__ import annotations

import json as json_library
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from quantplay.errors import MissingDependency, QuantplayError

State = Literal["good", "note", "missing"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at. `missing` means that a run can't work without it."""

    name: str
    state: State
    found: str
    fix: str | None = None


def command(json: bool = False) -> int:
    findings = list(examine())
    missing = [finding for finding in findings if finding.state == "missing"]
    if json:
        print(json_library.dumps({"good": not missing, "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        from quantplay.cli.console import console

        console().print(findings_table(findings))
        said = (
            "Everything a run needs is here." if not missing else f"Missing: {', '.join(one.name for one in missing)}."
        )
        console().print(said, style="green" if not missing else "red")
    return MissingDependency.exit_code if missing else 0


def examine() -> Iterator[Finding]:
    """Every finding; a look that fails in a way we did not foresee is a finding too."""
    from quantplay.cli import doctor_services, doctor_system

    looks: list[Callable[[], Iterator[Finding]]] = [*doctor_system.LOOKS, *doctor_services.LOOKS]
    for look in looks:
        name = look.__name__.replace("_", " ")
        try:
            yield from look()
        except QuantplayError as error:
            value = f": {error.value}" if error.value is not None else ""
            yield Finding(name=name, state="missing", found=f"{error.what}{value}", fix=error.fix)
        except Exception as error:  # noqa: BLE001 - the doctor goes on to the next thing
            yield Finding(name=name, state="missing", found=f"{type(error).__name__}: {error}")


def findings_table(findings: list[Finding]) -> object:
    from rich.text import Text

    from quantplay.cli.render import table_of

    marks = {
        "good": Text("ok", style="green"),
        "note": Text("note", style="yellow"),
        "missing": Text("missing", style="red"),
    }
    rows = []
    for one in findings:
        text = Text(one.found)
        if one.fix is not None:
            text.append("\n").append("do this: ", style="bold").append(one.fix)
        rows.append([one.name, marks[one.state], text])
    return table_of("What is here", [("", "left"), ("", "left"), ("", "text")], rows)
