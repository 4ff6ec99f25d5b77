"""When a signature is accepted. Pure: what is known goes in, every reason to refuse comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quantplay.errors import Fault
from quantplay.records import Digest, Login, SignOff
from quantplay.signoff.owners import Owners, Person
from quantplay.signoff.standing import REQUIRED, in_force, standing
from quantplay.signoff.text import LONGEST_VALID, TIME, Stage, Statement, moment

CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a run asks to be signed now, and what has been signed."""

    run: str
    stage: Stage
    gate: Digest
    decision: Digest
    manifest: Digest | None
    gate_changes: int
    plan_path: str
    plan_gate: Digest | None  # of the plan file as it is now; None where it is not on this machine
    newer: tuple[tuple[str, Digest], ...] = ()  # later runs of the same plan and model that froze another gate
    recorded: tuple[SignOff, ...] = ()  # of this run, those that hold, oldest first
    nonce_used_at: str | None = None  # when a text with this nonce was recorded
    business_case: Digest | None = None  # at stage training


def check_signoff(
    statement: Statement, case: Case, owners: Owners, *, signed_with: str | None, now: datetime, unproven: str = ""
) -> tuple[Fault, ...]:
    """Every reason to refuse. `signed_with`: the key that the signature verified with as the person's; `unproven`: why with none."""
    person = owners.person(statement.person)
    return (
        *person_faults(statement, person, owners, signed_with, unproven),
        *text_faults(statement, case),
        *time_faults(statement, case, now),
        *decided_faults(case),
        *(gate_faults(case) if statement.verdict == "approve" else ()),  # who says no is always heard
    )


def person_faults(
    statement: Statement, person: Person | None, owners: Owners, signed_with: str | None, unproven: str
) -> list[Fault]:
    if person is None:
        names = ", ".join(one.name for one in owners.people)
        return [Fault(
            where="person", what="is not in the owners file", value=statement.person, allowed=names,
            fix=f"have the person with the key added to {owners.path}",
        )]  # fmt: skip
    found = []
    if signed_with is None and unproven:
        found.append(
            Fault(where="signature", what=unproven, fix="sign again; docs/sign-offs.md says who has to change what")
        )
    elif signed_with is None:
        found.append(Fault(
            where="signature", what=f"does not verify with a key of {person.name}: another text, another key, or damaged",
            allowed=", ".join(person.fingerprints), fix="sign exactly this text, with that key",
        ))  # fmt: skip
    needed = REQUIRED[statement.stage]
    if statement.role not in person.roles:
        found.append(Fault(
            where="role", what=f"is not a role of {person.name}", value=statement.role, allowed=", ".join(person.roles),
            fix=f"the owners file says who is {statement.role}: {names_of(owners.with_role(statement.role))}",
        ))  # fmt: skip
    if statement.role not in needed:
        found.append(Fault(
            where="role", what=f"signs nothing at stage {statement.stage}", value=statement.role, allowed=", ".join(needed)
        ))  # fmt: skip
    return found


def names_of(people: tuple[Person, ...]) -> str:
    return ", ".join(one.name for one in people) or "nobody"


def text_faults(statement: Statement, case: Case) -> list[Fault]:
    """The text is about this run, this decision, this package."""
    pairs = {
        "run": ("names another run", statement.run, case.run),
        "stage": ("is another than the one this run waits at", statement.stage, case.stage),
        "gate": ("names another gate", statement.gate, case.gate),
        "decision": ("names another decision", statement.decision, case.decision),
        "manifest": ("names another package", statement.manifest, case.manifest),
        "business case": ("names another business case", statement.business_case, case.business_case),
        "gate changes": ("is another number than the decision's", statement.gate_changes, case.gate_changes),
    }
    return [
        Fault(
            where=where, what=what, value=in_text(found), allowed=in_text(wanted),
            fix=f"`quantplay show {case.run[:8]}` says what is to be signed; write a new text with --request",
        )
        for where, (what, found, wanted) in pairs.items()
        if found != wanted
    ]  # fmt: skip


def in_text(value: object) -> str:
    return "none" if value is None else str(value)


def time_faults(statement: Statement, case: Case, now: datetime) -> list[Fault]:
    """Used once, in time, and by two people."""
    issued, expires = moment(statement.issued_at), moment(statement.expires_at)
    moment_now = now.astimezone(UTC).strftime(TIME)
    again = "write a new text with --request, and sign that"
    found = []
    if case.nonce_used_at is not None:
        found.append(Fault(
            where="nonce", what="this text has been used before", value=f"recorded {case.nonce_used_at}", fix=again
        ))  # fmt: skip
    if now > expires:
        found.append(Fault(
            where="expires", what="the text has expired", value=statement.expires_at, allowed=f"after {moment_now}", fix=again
        ))  # fmt: skip
    if issued > now + CLOCKS_APART:
        found.append(Fault(
            where="issued", what="the text was issued in the future", value=statement.issued_at, allowed=f"by {moment_now}",
            fix="set the clock of the machine that wrote it, and write a new text",
        ))  # fmt: skip
    if not timedelta(0) < expires - issued <= LONGEST_VALID:
        found.append(Fault(
            where="expires", what="the text is valid for a time that quantplay does not give", value=str(expires - issued),
            allowed=f"up to {LONGEST_VALID.days} days", fix=again,
        ))  # fmt: skip
    found += [
        Fault(
            where="person", what=f"signed here already as {other.role}; the two roles need two people",
            value=statement.person, fix=f"have somebody else sign as {statement.role}",
        )
        for other in in_force(statement.stage, case.recorded).values()
        if other.person == statement.person and other.role != statement.role
    ]  # fmt: skip
    return found


def decided_faults(case: Case) -> list[Fault]:
    """A stage is decided once: somebody else may have done so between the question and the signature."""
    found = standing(
        case.stage, case.recorded, gate=case.gate, decision=case.decision, gate_changes=case.gate_changes,
        manifest=case.manifest, business_case=case.business_case,
    )  # fmt: skip
    if found.state == "awaiting":
        return []
    last = (found.refusals or found.counted)[-1]
    return [Fault(
        where=f"run {case.run[:8]}", what=f"stage {case.stage} was {found.state} meanwhile",
        value=f"{last.verdict} by {last.person} as {last.role}, {last.recorded_at}",
        fix=f"`quantplay show {case.run[:8]}` says how it stands; another verdict needs a new run",
    )]  # fmt: skip


def gate_faults(case: Case) -> list[Fault]:
    """The gate that people sign is the one the team holds to now."""
    found = []
    if case.plan_gate is not None and case.plan_gate != case.gate:
        found.append(Fault(
            where=case.plan_path, what="the plan's gate was changed since this run decided", value=case.plan_gate,
            allowed=case.gate, fix="restore the gate, or run the plan again and sign that run",
        ))  # fmt: skip
    found += [
        Fault(
            where=f"run {run[:8]}", what="a newer run of this plan and model froze another gate", value=gate,
            allowed=case.gate, fix=f"sign the newer one: `quantplay show {run[:8]}`",
        )
        for run, gate in case.newer
    ]  # fmt: skip
    return found


def run_fault(run: str, profile: str, outcome: str | None, awaits: bool) -> Fault | None:
    """Why nothing of this run can be signed, if so."""
    short = run[:8]
    if profile == "explore":
        return Fault(
            where=f"run {short}", what="is of profile explore, which can't be signed or locked", value=profile,
            allowed="production", fix="write `profile: production` in the plan and run it",
        )  # fmt: skip
    if profile != "production" and not awaits:
        return Fault(
            where=f"run {short}", what=f"is of profile {profile}, which asks for no signature", value=profile,
            allowed="production; or internal, where training waits for its business case",
            fix="write `profile: production` in the plan and run it",
        )  # fmt: skip
    if not awaits:
        return Fault(
            where=f"run {short}", what="does not wait for a signature", value=outcome or "not finished",
            allowed="awaiting_signature", fix=f"`quantplay show {short}` says how it stands",
        )  # fmt: skip
    return None


def record_of(
    statement: Statement,
    *,
    text: bytes,
    signature: str,
    key: str,
    owners: Owners,
    now: datetime,
    login: Login | None = None,
) -> SignOff:
    """What is recorded of an accepted signature."""
    fields = statement.model_dump(exclude={"gate_changes"})
    return SignOff(
        **fields, text=text.decode(), signature=signature, key=key, login=login, owners=owners.digest,
        recorded_at=now.astimezone(UTC).strftime(TIME),
    )  # fmt: skip
