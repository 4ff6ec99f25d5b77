"""Records that a job is told to work on: looked up in the product database, and refused by name where they are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from quantplay.errors import InputError
from quantplay.records import Artifact, Digest, Recipe, Record
from tasks.workbench import RunRef, workbench

T = TypeVar("T", bound=Record)


def recorded(what: str, key: Digest, find: Callable[[Digest], T | None]) -> T:
    """The record under `key`. Raises InputError where there is none, as in a job that was started by hand with another key."""
    found = find(key)
    if found is None:
        raise refused(f"the product database has no such {what}", key, f"the key of a recorded {what}")
    return found


def recorded_artifact(key: Digest) -> tuple[Artifact, Recipe]:
    """An artifact and the recipe it was made by. Raises InputError."""
    store = workbench().store
    artifact = recorded("artifact", key, store.get_artifact)
    return artifact, recorded("recipe", artifact.recipe, store.get_recipe)


def require_of_run(what: str, key: Digest, *, found: Digest, run: RunRef) -> None:
    """Raise InputError where a record is of another full-precision model than the run's; `found`: content of its model."""
    if found != run.inputs.model.content:
        raise refused(
            f"this {what} is of another model than the run's", key, f"one of model {run.inputs.model.content}"
        )


def refused(what: str, value: str, allowed: str) -> InputError:
    return InputError(
        what, value=value, allowed=allowed,
        fix="start a run instead (`quantplay run`, or the form): it sends its own jobs, with their keys",
    )  # fmt: skip
