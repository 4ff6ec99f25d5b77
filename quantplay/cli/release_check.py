"""`quantplay release-check PACKAGE`: for pipelines, offline."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from quantplay.live.release_check import ReleaseCheck


def command(
    package: Path, owners: Path | None = None, manifest: str | None = None, internal: bool = False, junit: Path | None = None,
    json: bool = False,
) -> int:  # fmt: skip
    from quantplay.live import release_check

    found = release_check.check_release(package, owners=owners or known_owners(), manifest=manifest, internal=internal)
    if junit is not None:
        from quantplay.engines.whole_file import written_whole

        with written_whole(junit) as partial:
            partial.write_bytes(release_check.junit(found))
    if json:
        print(json_library.dumps(body(found), indent=2))
    else:
        from quantplay.cli.console import console

        for part in parts(found):
            console().print(part)
    return 0 if found.ok else IntegrityError.exit_code


def known_owners() -> Path | None:
    """This machine's own owners file, where there is one."""
    from quantplay.settings import settings

    path = settings().owners
    return path if path.is_file() else None


def body(found: ReleaseCheck) -> dict:
    facts = found.facts
    told = None if facts is None else asdict(facts) | {"rules": facts.rules.body()}
    return {"ok": found.ok, "package": found.path, "lines": [asdict(line) for line in found.lines], "facts": told}


def parts(found: ReleaseCheck) -> Iterator[RenderableType]:
    """A line each, the verdict last."""
    from rich.text import Text

    from quantplay.cli.replay import harmless

    for line in found.lines:
        mark, style = ("yes", "green") if line.ok else ("NO ", "bold red")
        yield Text.assemble((f"  {mark}  ", style), (f"{line.name:11s}", "bold"), harmless(line.said))
        if not line.ok and line.fix:
            yield Text.assemble(" " * 18, ("do this: ", "dim"), line.fix)
    if found.ok:
        yield Text("This package may be released.", style="bold green")
    else:
        yield Text("This package may not be released.", style="bold red")
