"""`quantplay audit RUN|PACKAGE|ENDPOINT`: the checklist and the seven mistakes; --backward ranks what may have gone wrong."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING

from quantplay.outcomes import AUDIT_FOUND

if TYPE_CHECKING:
    from quantplay.audit import Audit


def command(subject: str, backward: bool = False, json: bool = False) -> int:
    from quantplay.audit import audit, find
    from quantplay.audit.backward import causes
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        kind, name = find(store, subject)
        found = audit(store, name, kind)
    if json:
        print(json_library.dumps(body_of(found, backward), indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_audit import audit_parts, backward_parts

        for part in backward_parts(found, causes(found)) if backward else audit_parts(found):
            console().print(part)
    return AUDIT_FOUND if found.open else 0


def body_of(found: Audit, backward: bool) -> dict:
    from dataclasses import asdict

    from quantplay.audit.backward import causes

    body = {**found.body(), "open": [one.name for one in found.open]}
    if backward:
        body["causes"] = [
            {"rank": rank, "score": one.score, "explains": one.explains, "first": one.first, **asdict(one.answer)}
            for rank, one in enumerate(causes(found), 1)
        ]
    return body
