"""Which signatures count, which are missing, and what that makes of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from quantplay.errors import InputError
from quantplay.records import Digest, Role, SignOff
from quantplay.signoff.owners import Owners
from quantplay.signoff.proof import Proof, proof_of
from quantplay.signoff.text import Stage, moment, parse

REQUIRED: dict[Stage, tuple[Role, ...]] = {
    "gate": ("ml_engineer", "product_owner"),
    "training": ("engineering_manager",),
    "lock": ("product_owner",),
}
"""Who has to approve: the decision, by two people; what training costs, before it; the finished package."""


@dataclass(frozen=True, kw_only=True)
class Void:
    """A recorded signature that does not count."""

    signoff: SignOff
    why: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one stage of one run stands."""

    stage: Stage
    counted: tuple[SignOff, ...]  # the latest of each role
    missing: tuple[Role, ...]
    void: tuple[Void, ...] = ()

    @property
    def refusals(self) -> tuple[SignOff, ...]:
        return tuple(one for one in self.counted if one.verdict != "approve")

    @property
    def state(self) -> Literal["approved", "rejected", "awaiting"]:
        """One refusal ends the run; otherwise every role has to approve."""
        if self.refusals:
            return "rejected"
        return "awaiting" if self.missing else "approved"


def in_force(stage: Stage, signoffs: Iterable[SignOff]) -> dict[Role, SignOff]:
    """The latest of each role at this stage; `signoffs` in the order they were recorded."""
    return {one.role: one for one in signoffs if one.stage == stage and one.role in REQUIRED[stage]}


def standing(
    stage: Stage, signoffs: Iterable[SignOff], *, gate: Digest, decision: Digest, gate_changes: int,
    manifest: Digest | None = None, business_case: Digest | None = None, void: Iterable[Void] = (),
) -> Standing:  # fmt: skip
    """How `stage` stands by these sign-offs of one run, oldest first; `void`: those that did not verify.

    The one rule of which counts: void ones are dropped first, then the latest of each role is taken.
    """
    wanted = {
        "gate": gate, "decision": decision, "manifest": manifest if stage == "lock" else None,
        "business_case": business_case if stage == "training" else None,
    }  # fmt: skip
    others, right = [one for one in void if one.signoff.stage == stage], []
    for one in signoffs:
        wrong = [name.replace("_", " ") for name, value in wanted.items() if getattr(one, name) != value]
        wrong += [] if changes_said(one) == gate_changes else ["number of gate changes"]
        if one.stage == stage and wrong:
            others.append(Void(signoff=one, why=f"names another {' and '.join(wrong)}"))
        else:
            right.append(one)
    found = in_force(stage, right)
    holders: dict[str, Role] = {}
    for role, one in sorted(found.items(), key=lambda entry: entry[1].recorded_at):
        if holders.setdefault(one.person, role) != role:
            others.append(
                Void(signoff=one, why=f"{one.person} signed as {holders[one.person]} too; the roles need two people")
            )
            del found[role]
    return Standing(
        stage=stage, counted=tuple(found.values()), void=tuple(others),
        missing=tuple(role for role in REQUIRED[stage] if role not in found),
    )  # fmt: skip


def verified(signoffs: Iterable[SignOff], owners: Owners) -> tuple[tuple[SignOff, ...], tuple[Void, ...]]:
    """Those whose text, signature and signer hold against this owners file, and those that do not, with the reason."""
    good, void = [], []
    for one in signoffs:
        why = flaw(one, owners)
        if why is None:
            good.append(one)
        else:
            void.append(Void(signoff=one, why=why))
    return tuple(good), tuple(void)


def flaw(signoff: SignOff, owners: Owners) -> str | None:
    """Why a recorded signature does not count against this owners file; None where it does."""
    if (unlike := unlike_its_text(signoff)) is not None:
        return unlike
    person = owners.person(signoff.person)
    if person is None:
        return f"{signoff.person} is not in {owners.path}"
    if signoff.role not in person.roles:
        return f"{signoff.person} is not {signoff.role} in {owners.path}"
    text = signoff.text.encode()
    found = proof_of(parse(text), text, signoff.signature, person, owners)
    if found != Proof(key=signoff.key, login=signoff.login):
        return f"the signature {found if isinstance(found, str) else 'says another key or log-in than the record'}"
    return None


def changes_said(signoff: SignOff) -> int | None:
    """How many gate changes the signed text names; None where it can't be read."""
    try:
        return parse(signoff.text.encode()).gate_changes
    except InputError:
        return None


def unlike_its_text(signoff: SignOff) -> str | None:
    """Where the record says something else than the text that was signed, or was recorded out of its time."""
    try:
        said = parse(signoff.text.encode())
        recorded = moment(signoff.recorded_at)
    except (InputError, ValueError) as error:
        return f"its text can't be read: {error}".splitlines()[0]
    for name, value in said.model_dump(exclude={"gate_changes"}).items():
        if getattr(signoff, name) != value:
            return f"the record and the signed text name another {name.removesuffix('_at')}"
    if not moment(said.issued_at) - timedelta(minutes=5) <= recorded <= moment(said.expires_at):
        return "it was recorded at a time for which the text is not valid"
    return None


def sign_command(run: str, role: Role, verdict: str = "approve") -> str:
    """What a person types."""
    return f"quantplay sign {run[:8]} --role {role} --{verdict}"
