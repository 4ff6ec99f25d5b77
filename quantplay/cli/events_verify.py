"""`quantplay events verify`: is the chain of events whole, and does it still hold what was noted elsewhere."""

from __future__ import annotations

import json as json_library
import re
from collections.abc import Sequence

from quantplay.errors import Fault, InputError, IntegrityError

REMEMBERED = re.compile(r"([1-9]\d{0,17}):([0-9a-f]{64})")


def command(remembered: Sequence[str], json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.events import problems
    from quantplay.store.registry import open_store

    anchors = dict(map(anchor_of, remembered))
    with open_store(settings()) as store:
        chain, database = store.events(), store.where
    faults = problems(chain, anchors)
    if faults:
        raise IntegrityError(
            "the chain of events is not what was written", value=database, faults=[Fault(where=where, what=what) for where, _, what in (one.partition(": ") for one in faults)],
            fix="ask who changed the database; `quantplay backup FOLDER --check` reads what was kept of it",
        )  # fmt: skip
    last = f"{chain[-1].seq}:{chain[-1].digest}" if chain else None
    if json:
        print(
            json_library.dumps(
                {"events": len(chain), "whole": True, "last": last, "remembered": len(anchors)}, indent=2
            )
        )
        return 0
    print(
        f"{len(chain):,} events, each follows from the one before"
        + (f"; {len(anchors)} as remembered" if anchors else "")
    )
    if last:
        print(
            f"last: {last}\nWrite it down elsewhere: `--remembered {last[:12]}...` shows later that nothing was cut off or rewritten up to here."
        )
    return 0


def anchor_of(text: str) -> tuple[int, str]:
    found = REMEMBERED.fullmatch(text.strip().lower())
    if found is None:
        raise InputError(
            "this is no remembered event", value=text, allowed="NUMBER:DIGEST, as `quantplay events verify` printed it"
        )
    return int(found[1]), found[2]
