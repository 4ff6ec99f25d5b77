"""Files behind artifact records: made once, kept in the artifact store, made again when they were lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from quantplay.errors import IntegrityError
from quantplay.records import Artifact, Digest, Recipe
from tasks.device import on_device
from tasks.locked_files import verified
from tasks.workbench import RunRef, once, workbench


def stored(key: Digest, recipe: Recipe, make: Callable[[Path], Artifact], file_name: str) -> Artifact:
    """The artifact under `key`, its bytes in the artifact store: as recorded, or made by `make(path)` and put there.

    Where the record is there but the bytes are lost, they are made again and must come out the same; IntegrityError if not.
    """
    bench = workbench()
    found = bench.store.get_artifact(key)
    if found is not None and bench.artifacts.exists(found.sha256):
        return found
    with TemporaryDirectory(dir=bench.scratch) as folder:
        out = Path(folder) / file_name
        made = make(out)
        if found is not None and found.sha256 != made.sha256:
            raise IntegrityError(
                "an artifact whose file was lost did not come out the same when it was made again",
                value=made.sha256,
                allowed=found.sha256,
                fix="restore the artifact store from a backup; this machine no longer makes the recorded bytes",
            )
        bench.artifacts.put_file(out)
    # A database that restarted meanwhile forgot the lock: another run may have made it too. The first record stays.
    found = found or bench.store.get_artifact(key)
    if found is None:
        bench.store.put_recipe(recipe.digest(), recipe)
        bench.store.put_artifact(key, made)
    return found or made


def make_once(run: RunRef, key: Digest, recipe: Recipe, make: Callable[[Path], Artifact], file_name: str) -> None:
    """The artifact under `key` as a play of `run`: found, with its bytes, or made by `make(path)` while this machine's device is held."""
    bench = workbench()

    def find(_: Digest) -> Artifact | None:
        found = bench.store.get_artifact(key)
        return found if found is not None and bench.artifacts.exists(found.sha256) else None

    once(run, "ptq", key, find=find, make=on_device(run, "ptq", lambda: stored(key, recipe, make, file_name)))


def local_copy(artifact: Artifact) -> Path:
    """A local path of the artifact's verified bytes; from a remote store they are copied to scratch once."""
    return verified(workbench().artifacts, artifact.sha256, workbench().scratch)
