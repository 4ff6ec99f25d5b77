"""How a mistake shows in the records, and what comes of all its signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quantplay.audit.answers import Answer, Evidence, Mistake, MistakeName
from quantplay.audit.facts import Facts
from quantplay.records import Role


@dataclass(frozen=True, kw_only=True)
class Sign:
    """One way in which a mistake shows."""

    why: str  # a sentence with the numbers
    evidence: tuple[Evidence, ...] = ()
    fix: str
    waived: str | None = None  # the recorded reason why this was accepted


@dataclass(frozen=True, kw_only=True)
class Classic:
    """One of the seven: how it is found, and what has to be on record before anybody may say that it was avoided."""

    name: MistakeName
    question: str  # whose yes is good
    owner: Role
    signs: Callable[[Facts], Iterator[Sign]]
    needs: Callable[[Facts], tuple[str, ...]]  # fields of Facts
    also: Callable[[Facts], str | None] = lambda facts: None  # what else keeps it unknown, a sentence
    rules: tuple[str, ...] = ()  # of a plan's deviations that accept it as a whole


def judged(classic: Classic, facts: Facts) -> tuple[Answer, Mistake | None]:
    """The line of the checklist, and the mistake where it is there."""
    found, owner = tuple(classic.signs(facts)), facts.owner(classic.owner)
    accepted = facts.waiver(*classic.rules, classic.name) if classic.rules else facts.waiver(classic.name)
    if found:
        reasons = [sign.waived or accepted for sign in found]
        waived = all(reasons)
        mistake = Mistake(
            name=classic.name, why=" ".join(sign.why for sign in found), fix=next(sign for sign, said in zip(found, reasons, strict=True)
            if waived or not said).fix, evidence=tuple(dict.fromkeys(one for sign in found for one in sign.evidence)), owner=owner,
            waived=waived, reason="; ".join(dict.fromkeys(said for said in reasons if said)) or None,
        )  # fmt: skip
        answer = Answer(
            section="classic mistakes", question=classic.question, answer="waived" if waived else "no", owner=owner, why=mistake.why,
            evidence=mistake.evidence, fix=mistake.fix, reason=mistake.reason if waived else None, mistake=classic.name,
        )  # fmt: skip
        return answer, mistake
    missing = [name for name in classic.needs(facts) if not getattr(facts, name)]
    open_end = classic.also(facts) if not missing else None
    if missing or open_end:
        why = open_end or f"There is no record to tell by: {', '.join(missing)}."
        return Answer(
            section="classic mistakes", question=classic.question, answer="unknown", owner=owner, why=why, mistake=classic.name
        ), None  # fmt: skip
    shown = tuple(one for name in classic.needs(facts) for one in looked_at(facts, name))
    return Answer(
        section="classic mistakes", question=classic.question, answer="yes", owner=owner, evidence=shown, mistake=classic.name,
        why=f"{len(shown)} records were looked at: {', '.join(classic.needs(facts))}.",
    ), None  # fmt: skip


def looked_at(facts: Facts, name: str) -> Iterator[Evidence]:
    """Every record behind a field."""
    nothing = "looked at, nothing of it shows there"
    if name == "manifests":
        yield from (facts.pinned(kind, nothing) for kind in facts.manifests)
    elif name == "signoffs":
        yield from (Evidence(record="signoff", key=one.digest(), said=nothing) for one in facts.signoffs)
    else:
        yield facts.shows("release" if name == "releases" else name, nothing)
