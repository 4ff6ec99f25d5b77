"""The newest checkpoint of a training that was sent to a worker, in the artifact store too: a lost machine takes its own disk along.

Which file that is says the last event about the training. It is stored while the training goes on, and never stops it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path

from quantplay.errors import InputError, QuantplayError
from quantplay.process import Report
from quantplay.qat.checkpoint import step_of
from quantplay.records import Digest
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store
from tasks.progress import announce

KEPT = "training.checkpoint"  # about a training's key; body: sha256 of the file, steps done


class Checkpoints:
    """Those of one training. `file`: where the training writes them on this machine."""

    def __init__(self, store: Store, artifacts: ArtifactStore, key: Digest, file: Path) -> None:
        self.store, self.artifacts, self.key, self.file = store, artifacts, key, file
        self.seen: tuple[int, int] | None = None
        self.storing: Future[None] | None = None

    def kept(self) -> list[tuple[Digest, int]]:
        """Files that were stored and the steps done in them, the newest first."""
        events = reversed(self.store.events(kind=KEPT, subject=self.key))
        return [(event.body["sha256"], event.body["step"]) for event in events]

    def restore(self) -> int | None:
        """Put the stored checkpoint where training looks for it, unless a newer one lies there; its steps."""
        here = step_of(self.file)
        for sha256, step in self.kept():
            if self.artifacts.exists(sha256):
                if here is not None and here >= step:
                    return None
                self.artifacts.get(sha256, self.file)
                return step
        return None

    @contextmanager
    def followed(self, report: Report) -> Iterator[Report]:
        """`report`, which also looks whether the training has written a checkpoint, and stores it beside the training."""
        with ThreadPoolExecutor(1) as pool:

            def progress(done: int, total: int, text: str) -> None:
                report(done, total, text)
                if self.storing is None or self.storing.done():
                    with suppress(FileNotFoundError):
                        found = self.file.stat()
                        now = (found.st_ino, found.st_mtime_ns)
                        if now != self.seen:
                            self.seen = now
                            self.storing = pool.submit(copy_context().run, self.keep)

            yield progress

    def keep(self) -> None:
        """Store the checkpoint that lies there now, then drop older ones. What goes wrong is told, and the training goes on."""
        still = self.file.with_name(
            f".{self.file.name}.storing"
        )  # the training may put a newer one in its place meanwhile
        try:
            before = [sha256 for sha256, _ in self.kept()]
            still.unlink(missing_ok=True)
            os.link(self.file, still)
            step = step_of(still)
            if step is None:
                return
            sha256 = self.artifacts.put_file(still).sha256
            self.store.append_event("quantplay", KEPT, self.key, {"sha256": sha256, "step": step})
            self.drop([one for one in before if one != sha256])
        except (QuantplayError, OSError) as error:
            announce("training", f"goes on, but its checkpoint is on this machine alone: {error}")
        finally:
            still.unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what is stored: the training is recorded."""
        try:
            self.drop([sha256 for sha256, _ in self.kept()])
        except QuantplayError as error:
            announce("training", f"done; a checkpoint is left in the artifact store: {error}")

    def drop(self, files: list[Digest]) -> None:
        for sha256 in dict.fromkeys(files):
            with suppress(InputError):  # pinned: the same bytes are needed for something else
                self.artifacts.delete(sha256)
