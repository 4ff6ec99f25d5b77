"""One signature, from the text somebody signed to its record: by whatever way it comes, the same rules are asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quantplay.errors import Fault, InputError
from quantplay.plan_file import read_plan
from quantplay.records import Digest, Role, SignOff
from quantplay.signoff import (
    Case,
    Owners,
    Standing,
    Statement,
    Void,
    check_signoff,
    new_statement,
    parse,
    record_of,
    standing,
    verified,
)
from quantplay.signoff.login import is_bundle
from quantplay.signoff.proof import Proof, proof_of
from quantplay.signoff.text import VALID, SignVerdict
from quantplay.store.registry import Store
from quantplay.store.signoffs import Awaiting


def statement_for(
    waits: Awaiting, role: Role, verdict: SignVerdict, person: str, comment: str = "", valid: timedelta = VALID
) -> Statement:
    """What `person` is asked to sign now, with a fresh nonce."""
    return new_statement(
        run=waits.run, stage=waits.stage, role=role, verdict=verdict, person=person, gate=waits.gate,
        decision=waits.decision, manifest=waits.manifest, business_case=waits.business_case,
        gate_changes=waits.gate_changes, comment=comment, valid=valid,
    )  # fmt: skip


def standing_of(waits: Awaiting, good: Iterable[SignOff], void: Iterable[Void] = ()) -> Standing:
    """How the stage stands that a run waits at; `good`: its signatures that were verified, oldest first."""
    return standing(
        waits.stage, good, gate=waits.gate, decision=waits.decision, gate_changes=waits.gate_changes,
        manifest=waits.manifest, business_case=waits.business_case, void=void,
    )  # fmt: skip


def stands_now(store: Store, waits: Awaiting, owners: Owners) -> Standing:
    """The same by what is recorded; every signature is verified again."""
    recorded = store.signoffs_of(waits.run)
    good, void = verified(recorded, owners) if recorded else ((), ())
    return standing_of(waits, good, void)


def record_signature(store: Store, waits: Awaiting, owners: Owners, said: bytes, armored: str) -> SignOff:
    """Check the signature over the text `said` by every rule and record it; InputError with all reasons at once.

    `armored`: an SSH signature, or the token of a log-in with its key.
    """
    statement, now = parse(said), datetime.now(UTC)
    person = owners.person(statement.person)
    found = proof_of(statement, said, armored, person, owners) if person is not None else "is by nobody who is known"
    proof = found if isinstance(found, Proof) else None
    unproven = found if isinstance(found, str) and is_bundle(armored) else ""
    newer, plan_gate = store.newer_gates(waits.id), gate_of_plan(Path(waits.plan_path))

    def check(recorded: Sequence[SignOff], still: Awaiting | None, used: str | None) -> Sequence[Fault]:
        if still is None:
            return [
                Fault(where=f"run {waits.run[:8]}", what="was ended by somebody else meanwhile", fix="quantplay show")
            ]
        # The run is the one that was asked for, also where the text names another one that waits as well.
        case = replace(case_of(still, verified(recorded, owners)[0], used, newer, plan_gate), run=waits.run)
        key = proof.key if proof is not None else None
        return check_signoff(statement, case, owners, signed_with=key, now=now, unproven=unproven)

    signoff = record_of(
        statement, text=said, signature=armored, key=proof.key if proof is not None else "none", owners=owners, now=now,
        login=proof.login if proof is not None else None,
    )  # fmt: skip
    store.put_signoff(signoff, check)
    return signoff


def case_of(
    waits: Awaiting, recorded: Sequence[SignOff], used: str | None, newer: tuple[tuple[str, Digest], ...],
    plan_gate: Digest | None,
) -> Case:  # fmt: skip
    return Case(
        run=waits.run, stage=waits.stage, gate=waits.gate, decision=waits.decision, manifest=waits.manifest,
        business_case=waits.business_case, gate_changes=waits.gate_changes, plan_path=waits.plan_path,
        plan_gate=plan_gate, newer=newer, recorded=tuple(recorded), nonce_used_at=used,
    )  # fmt: skip


def gate_of_plan(plan: Path) -> Digest | None:
    """Digest of the gate in the plan file as it is now; None where the file is not on this machine."""
    return read_plan(plan).gate_digest() if plan.is_file() else None


def reasons_of(error: InputError) -> tuple[str, ...]:
    """Why a signature was refused, a line a reason."""
    return tuple(map(str, error.faults)) or (str(error).splitlines()[0],)
