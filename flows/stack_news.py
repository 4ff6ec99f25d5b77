"""A worker that starts compares the stack with the one noted last for its chip, and tells the Prefect server of a change.

The note is in the product database: an upgraded image is a new container, with a new name and an empty home.
"""

from __future__ import annotations

from collections.abc import Callable

from flows.stack_event import tell_upgraded
from quantplay.envelope.changes import changes_sentence, stack_changes
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.errors import QuantplayError
from quantplay.records import Fingerprint
from quantplay.settings import Settings
from quantplay.store.registry import Store

NOTED = "stack.noted"


def tell_of_new_stack(here: Settings, store: Store, pool: str, device: str, say: Callable[[str], None]) -> None:
    """Note the stack; tell of a change first, so that a server that is away is told at the next start."""
    try:
        now = measure_fingerprint(here.threads)
        chip = now.hardware.accelerators[0] if now.hardware.accelerators else now.hardware.cpu
        subject = f"{pool} {device} {chip}"
        noted = store.events(kind=NOTED, subject=subject)
        if noted:
            before = Fingerprint.model_validate(noted[-1].body)
            changes = stack_changes(before, now)
            if not changes:
                return
            say(f"the stack changed: {changes_sentence(changes)}")
            tell_upgraded(here, changes, before, now)
        store.append_event("quantplay", NOTED, subject, now.body())
    except QuantplayError as error:
        say(f"the stack could not be compared with the one before: {error.what}")
