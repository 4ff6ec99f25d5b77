"""The whole checklist and the seven classic mistakes, each with owner, evidence and fix. Docs: docs/audit.md."""

from __future__ import annotations

from quantplay.audit.after import after
from quantplay.audit.answers import SECTIONS, Answer, Audit, Evidence, Kind, Mistake
from quantplay.audit.before import before
from quantplay.audit.calibration import calibration
from quantplay.audit.conversion import conversion
from quantplay.audit.facts import Facts
from quantplay.audit.find import find
from quantplay.audit.gather import gather
from quantplay.audit.mistakes import CLASSICS, judged
from quantplay.audit.shipping import shipping
from quantplay.store.registry import Store

__all__ = ["SECTIONS", "Answer", "Audit", "Evidence", "Facts", "Mistake", "answered", "audit", "find", "gather"]


def audit(store: Store, subject: str, kind: Kind) -> Audit:
    """Audit a run (its id), a package (its key or its manifest's digest) or an endpoint (its name) by the product database alone.

    An endpoint's audit is that of the package it serves and of the release. Raises InputError where there is no such thing.
    """
    return answered(gather(store, subject, kind))


def answered(facts: Facts) -> Audit:
    """Facts to answers; pure."""
    lines = [*before(facts), *calibration(facts), *conversion(facts), *shipping(facts), *after(facts)]
    found = [judged(classic, facts) for classic in CLASSICS]
    return Audit(
        kind=facts.kind, subject=facts.subject, name=facts.plan.name if facts.plan else None, profile=facts.profile,
        answers=(*lines, *(answer for answer, _ in found)), mistakes=tuple(one for _, one in found if one is not None),
    )  # fmt: skip
