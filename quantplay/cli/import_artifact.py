"""`quantplay import ARTIFACT --base MODEL`: register what was quantized elsewhere. It stays unvalidated until a run has judged it."""

from __future__ import annotations

import getpass
import json as json_library
from pathlib import Path


def command(
    artifact: Path, base: str, commit: str | None = None, name: str | None = None, origin: str = "", json: bool = False
) -> int:
    from pydantic import ValidationError

    from quantplay.cli.console import console, errors_console
    from quantplay.cli.registry_imports import body_of, parts_of
    from quantplay.engines.scratch import claimed_scratch
    from quantplay.errors import InputError
    from quantplay.plan import ModelSource
    from quantplay.plays.imports import import_artifact
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    try:
        source = ModelSource(source=base, commit=commit)
    except ValidationError as error:
        raise InputError(
            "this is no base model",
            value=f"{base} at {commit}",
            allowed="a folder; or org/name with --commit, 40 digits",
        ) from error
    here = settings()

    def say(text: str) -> None:
        if not json:
            errors_console().print(f"[dim]{text}[/]")

    with open_store(here) as store, claimed_scratch(here.home / "scratch") as scratch:
        told, new = import_artifact(
            store, artifact, source, scratch=scratch, name=name, origin=origin, said_by=getpass.getuser(), say=say
        )
        found = store.find_import(told.sha256)
        assert found is not None
    if json:
        print(json_library.dumps({**body_of(found), "new": new}, indent=2))
        return 0
    for part in parts_of(found):
        console().print(part)
    console().print("Registered." if new else f"It was registered before, as {told.name}; nothing was changed.")
    return 0
