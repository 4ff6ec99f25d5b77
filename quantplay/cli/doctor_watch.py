"""`quantplay doctor --watch`: has this machine's stack changed since the last look? Then the Prefect server is told.

What was seen last lies in a file of this machine's own. It is replaced only after the server was told, so that nothing is lost with
a server that is away; where there is no server, a person is told and that is all.
"""

from __future__ import annotations

import json as json_library
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.errors import IntegrityError, ServiceUnavailable

if TYPE_CHECKING:
    from quantplay.records import Fingerprint, StackChange
    from quantplay.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look found."""

    at: str
    first: bool  # nothing was stored before
    since: str | None  # when the stack was seen as it was stored
    changes: tuple[StackChange, ...]
    told: str | None  # address of the server that was told
    trouble: str | None  # why the server could not be told

    def body(self) -> dict[str, Any]:
        changes = [change.body() for change in self.changes]
        return {
            "at": self.at, "first": self.first, "since": self.since, "changed": bool(changes), "changes": changes,
            "told": self.told, "trouble": self.trouble,
        }  # fmt: skip


def command(every: int = 300, once: bool = False, json: bool = False) -> int:
    """One look, or one every `every` seconds until it is stopped. Exit code 3 where the server could not be told (once)."""
    from quantplay.settings import settings

    for found in looks(settings(), every, once):
        if json:
            print(json_library.dumps(found.body()), flush=True)
        else:
            show(found)
        if once:
            return 0 if found.trouble is None else ServiceUnavailable.exit_code
    return 0


def looks(here: Settings, every: int, once: bool) -> Iterator[Look]:
    while True:
        yield look(here)
        if once:
            return
        time.sleep(every)


def look(here: Settings) -> Look:
    """Compare with what was stored, tell the server, store."""
    from flows.stack_event import tell_upgraded
    from quantplay.envelope.changes import stack_changes

    now, at = fingerprint_of_today(here), datetime.now(UTC).isoformat(timespec="seconds")
    file = here.home / "stack" / f"{platform.node()}.json"
    seen = last_seen(file)
    if seen is None:
        remember(file, now, at)
        return Look(at=at, first=True, since=None, changes=(), told=None, trouble=None)
    since, before = seen
    changes = stack_changes(before, now)
    told = trouble = None
    if changes:
        try:
            told = tell_upgraded(here, changes, before, now)
        except ServiceUnavailable as error:
            trouble = str(error)
        else:
            remember(file, now, at)
    return Look(at=at, first=False, since=since, changes=changes, told=told, trouble=trouble)


def fingerprint_of_today(here: Settings) -> Fingerprint:
    """From a fresh process: this one would keep the libraries it has loaded, whatever is installed meanwhile."""
    from quantplay import process
    from quantplay.records import Fingerprint

    done = process.run("quantplay.envelope.hardware:fingerprint_job", {"threads": here.threads}, threads=1)
    return Fingerprint.model_validate(done.value)


def last_seen(file: Path) -> tuple[str, Fingerprint] | None:
    from quantplay.records import Fingerprint

    try:
        body = json_library.loads(file.read_text(encoding="utf-8"))
        return body["at"], Fingerprint.model_validate(body["fingerprint"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            "what was noted of this machine's stack can't be read", value=file,
            fix="delete the file: the next look starts anew; then `quantplay revalidate --all`",
        ) from error  # fmt: skip


def remember(file: Path, now: Fingerprint, at: str) -> None:
    from quantplay.engines.whole_file import written_whole

    with written_whole(file) as partial:
        partial.write_text(json_library.dumps({"at": at, "fingerprint": now.body()}, indent=1), encoding="utf-8")


def show(found: Look) -> None:
    from rich.text import Text

    from quantplay.cli.console import console
    from quantplay.cli.render import table_of

    moment = found.at.replace("T", " ")[:19]
    if found.first:
        console().print(f"{moment}  First look: the stack of this machine is noted.")
        return
    if not found.changes:
        console().print(f"{moment}  Nothing changed since {found.since}.")
        return
    rows = [[one.what, Text(one.before), Text(one.now)] for one in found.changes]
    columns = [("changed", "left"), ("before", "text"), ("now", "text")]
    console().print(table_of(f"{moment}  The stack changed since {found.since}", columns, rows))
    if found.trouble is not None:
        console().print(Text(f"Nobody was told: {found.trouble}", style="red"))
    elif found.told is not None:
        console().print(f"Told {found.told}: event stack.upgraded.")
    else:
        console().print(
            "No Prefect server is named or runs here. `quantplay revalidate --all` measures the locked packages again."
        )
