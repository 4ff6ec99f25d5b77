"""The whole checklist and the seven classic mistakes, each with owner, evidence and fix. Docs: docs/audit.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

from quantplay.audit.after import after
from quantplay.audit.answers import SECTIONS, Answer, Audit, Evidence, Kind, Lesson, Mistake
from quantplay.audit.before import before
from quantplay.audit.calibration import calibration
from quantplay.audit.conversion import conversion
from quantplay.audit.facts import Facts
from quantplay.audit.find import find
from quantplay.audit.gather import gather
from quantplay.audit.mistakes import CLASSICS, judged
from quantplay.audit.shipping import shipping
from quantplay.store.registry import Store
from quantplay.store.signoffs import OPENED

__all__ = [
    "SECTIONS",
    "Answer",
    "Audit",
    "Evidence",
    "Facts",
    "Lesson",
    "Mistake",
    "answered",
    "audit",
    "find",
    "gather",
]


def audit(store: Store, subject: str, kind: Kind) -> Audit:
    """Audit a run (its id), a package (its key or its manifest's digest) or an endpoint (its name) by the product database alone.

    An endpoint's audit is that of the package it serves and of the release. Raises InputError where there is no such thing.
    """
    return answered(gather(store, subject, kind))


def answered(facts: Facts) -> Audit:
    """Facts to answers; pure."""
    lines = [*before(facts), *calibration(facts), *conversion(facts), *shipping(facts), *after(facts)]
    found = [judged(classic, facts) for classic in CLASSICS]
    named = names_of(facts)
    answers = (*lines, *(answer for answer, _ in found))
    return Audit(
        kind=facts.kind, subject=facts.subject, name=facts.plan.name if facts.plan else None, profile=facts.profile,
        answers=tuple(replace(one, fix=filled(one.fix, named)) for one in answers),
        mistakes=tuple(replace(one, fix=filled(one.fix, named)) for _, one in found if one is not None),
        lessons=tuple(lessons(facts)),
    )  # fmt: skip


def lessons(facts: Facts) -> Iterator[Lesson]:
    for one in (found.incident for found in facts.lessons):
        if one.lesson and one.folded_into and one.folded_where and one.closed_at:
            yield Lesson(
                text=one.lesson, folded_into=one.folded_into, where=one.folded_where, incident=str(one.id), what=one.what,
                at=one.closed_at.isoformat(),
            )  # fmt: skip


def names_of(facts: Facts) -> dict[str, str]:
    """What stands in the commands of a fix -> what it is here, as far as it is known."""
    opened = facts.last(OPENED)
    path, package = opened.body.get("plan_path") if opened else None, facts.package.path if facts.package else None
    run = str(facts.run.id)[:8] if facts.run else None
    endpoint = facts.releases[0].endpoint if facts.releases else None
    told = {
        "PLAN": path,
        "PACKAGE": package,
        "KEY": facts.keys.get("package", "")[:12],
        "RUN": run,
        "ENDPOINT": endpoint,
    }
    return {word: shlex.quote(name) for word, name in told.items() if name}


def filled(fix: str, named: dict[str, str]) -> str:
    return re.sub(r"\b(PLAN|PACKAGE|KEY|RUN|ENDPOINT)\b", lambda found: named.get(found[0], found[0]), fix)
