"""Who approved a package: its signatures checked against its own owners file, or against the reader's, and which of the two it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantplay.errors import Fault, InputError
from quantplay.handoff.layout import SIGNATURES
from quantplay.handoff.signatures import ALLOWED, LIST, OWNERS, SignOffList, read_list, stem
from quantplay.records import Digest, SignOff
from quantplay.signoff import Owners, Standing, read_owners_text, sign_command, standing, verified
from quantplay.signoff.standing import changes_said, unlike_its_text
from quantplay.signoff.text import PACKAGE_STAGES


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What is signed: the package as its records and its manifest have it."""

    run: str  # that the manifest names
    profile: str
    decision: Digest
    gate: Digest
    gate_changes: int  # that the decision lists
    manifest: Digest
    looks: Mapping[Digest, int] = field(default_factory=dict)  # every decision of the run -> the gate changes it lists
    business_case: Digest | None = None  # of the plan; None where nothing was trained


@dataclass(kw_only=True)
class Approvals:
    """What the signatures of a package show."""

    problems: list[Fault] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)  # what holds, a sentence each
    not_proven: list[str] = field(default_factory=list)
    complete: bool = False  # all three approvals are there and hold
    proves_manifest: bool = False  # by a signature whose key the reader vouches for


def check_approvals(folder: Path, signed: Signed, owners: Owners | None = None) -> Approvals:
    """Check signatures/ of the package in `folder`. `owners`: the reader's own file, which alone proves who signed.

    With `owners` all three approvals have to be there and to hold against it, whatever profile the package says it is of. Where the
    artifact was trained, the approval of that has to be there in any case.

    Raises MissingDependency where signatures have to be checked and ssh-keygen is not there.
    """
    listed, faults = read_list(folder)
    found = Approvals(problems=faults)
    if faults:  # a file that is missing, a link or a pipe is named, and nothing of it is read
        return found
    if listed is None:
        unsigned(found, signed, owners)
        return found
    try:
        own = read_owners_text((folder / SIGNATURES / OWNERS).read_bytes(), f"{SIGNATURES}/{OWNERS}")
    except (InputError, OSError) as error:
        found.problems += getattr(error, "faults", ()) or [Fault(where=f"{SIGNATURES}/{OWNERS}", what=str(error))]
        return found
    if (folder / SIGNATURES / ALLOWED).read_bytes() != own.allowed_signers().encode():
        found.problems.append(Fault(where=f"{SIGNATURES}/{ALLOWED}", what=f"does not say what {OWNERS} says"))
    due = signed.profile == "production" or owners is not None
    stages = weigh(listed, signed, own, found, due=due)
    consistent = not found.problems
    if owners is not None and consistent:
        found.not_proven.clear()
        stages = weigh(listed, signed, owners, found, due=due)
    found.complete = not found.problems and all(one.state == "approved" for one in stages)
    describe(found, stages, signed, owners, consistent=consistent)
    return found


def unsigned(found: Approvals, signed: Signed, owners: Owners | None) -> None:
    if signed.profile == "production":
        found.problems.append(Fault(
            where=f"{SIGNATURES}/", what="the package is not signed: the product owner's approval of it is missing",
            fix=f"look at report.html, then `{sign_command(signed.run, 'product_owner')}`",
        ))  # fmt: skip
    elif signed.business_case is not None:
        found.problems.append(Fault(
            where=f"{SIGNATURES}/", what="the artifact was trained, and the engineering manager's approval of that is missing",
            fix=f"`quantplay run` of its plan puts it there, where the product database holds it for run {signed.run[:8]}",
        ))  # fmt: skip
    elif owners is not None:  # a package can be made to say it is of a profile that needs none
        found.problems.append(Fault(
            where=f"{SIGNATURES}/", what="--owners asks for proof of who approved the package; this package carries none",
            value=f"profile {signed.profile}", fix="without --owners, a package of this profile needs no signature",
        ))  # fmt: skip


def weigh(listed: SignOffList, signed: Signed, owners: Owners, found: Approvals, *, due: bool) -> list[Standing]:
    """Check every sign-off against `owners`; what is wrong goes into `found`. `due`: all three approvals have to be there."""
    places = {one.nonce: f"{SIGNATURES}/{stem(number, one)}.sig" for number, one in enumerate(listed.signoffs, start=1)}
    good, void = verified(listed.signoffs, owners)
    stages = [
        standing(
            stage, [one for one in good if one.run == listed.run], gate=signed.gate, decision=signed.decision,
            gate_changes=signed.gate_changes, manifest=signed.manifest,
        )
        for stage in PACKAGE_STAGES
    ]  # fmt: skip
    if signed.business_case is not None:
        stages.append(of_training([one for one in good if one.run == listed.run], signed))
    missing = {(stage.stage, role) for stage in stages for role in stage.missing}
    for one in void:
        place, role = places[one.signoff.nonce], (one.signoff.stage, one.signoff.role)
        if (one.signoff.run == listed.run and role in missing) or forged(one.signoff, owners):
            found.problems.append(Fault(where=place, what=one.why, fix="ask who is said to have signed it"))
        else:  # history that nothing rests on, by somebody who has left or with a key that was replaced
            found.not_proven.append(
                f"That {one.signoff.person} once wrote `{one.signoff.verdict}` ({place}): {one.why}."
            )
    for one in listed.signoffs:
        found.problems += same_decision(one, signed, places[one.nonce])
    for stage in stages:
        if stage.missing:
            found.problems += [Fault(where=places[one.signoff.nonce], what=one.why) for one in stage.void]
        if due or stage.stage == "training":
            found.problems += lacking(stage, signed, owners)
    return stages


def of_training(signoffs: Sequence[SignOff], signed: Signed) -> Standing:
    """How the business case stands. It was signed under the decision that training followed, which is an earlier one of the run."""
    under = [one.decision for one in signoffs if one.stage == "training" and one.decision in signed.looks]
    decision = under[-1] if under else signed.decision
    return standing(
        "training", signoffs, gate=signed.gate, decision=decision, gate_changes=signed.looks.get(decision, 0),
        business_case=signed.business_case,
    )  # fmt: skip


def forged(signoff: SignOff, owners: Owners) -> bool:
    """Whether it contradicts its own text, or claims a key that is there and did not make it."""
    person = owners.person(signoff.person)
    if unlike_its_text(signoff) is not None:
        return True
    if person is None or signoff.login is None:
        return person is not None and signoff.key in person.fingerprints
    login = signoff.login
    known = any(one.issuer == login.issuer and signoff.key in one.keys for one in owners.providers)
    return known and (login.issuer, login.subject) in person.logins


def same_decision(signoff: SignOff, signed: Signed, place: str) -> list[Fault]:
    """The records of all runs are about the decision of this package, and name as many gate changes as it does.

    Those of training are about an earlier decision of this run.
    """
    if signoff.stage == "training":
        if signed.business_case is None:
            return [Fault(where=place, what="is about a training, and this artifact was not trained")]
        if signoff.decision not in signed.looks:
            return [Fault(where=place, what="is about a decision of another run", value=signoff.decision)]
        return []
    if signoff.decision != signed.decision:
        return [Fault(where=place, what="is about another decision", value=signoff.decision, allowed=signed.decision)]
    said = changes_said(signoff)
    if said is not None and said != signed.gate_changes:
        return [Fault(
            where=place, what="names another number of gate changes than the decision", value=str(said),
            allowed=str(signed.gate_changes),
        )]  # fmt: skip
    return []


def lacking(stage: Standing, signed: Signed, owners: Owners) -> list[Fault]:
    what = {"gate": "this decision", "training": "the training's business case", "lock": "this package"}[stage.stage]
    faults = [
        Fault(
            where=f"{SIGNATURES}/{LIST}", what=f"the approval of {what} by {role} is missing", value=f"against {owners.path}",
            fix=f"`{sign_command(signed.run, role)}`",
        )
        for role in stage.missing
    ]  # fmt: skip
    faults += [
        Fault(
            where=f"{SIGNATURES}/{LIST}", what=f"{one.person} as {one.role} did not approve {what}", value=one.verdict
        )
        for one in stage.refusals
    ]
    return faults


def describe(
    found: Approvals, stages: Iterable[Standing], signed: Signed, owners: Owners | None, *, consistent: bool
) -> None:
    """What was proved, and what was not."""
    counted = [one for stage in stages for one in stage.counted]
    if consistent and counted:
        found.checked.append(
            f"{approvals_in_words(counted)} verify against the package's own {OWNERS}: consistency, not identity"
        )
    if owners is None:
        found.not_proven.append(
            f"That the signers are who they are said to be: who makes a package can put any keys into its {OWNERS}. Give your own "
            "file with --owners FILE to prove identity."
        )
    elif not found.problems and counted:
        names = ", ".join(dict.fromkeys(one.person for one in counted))
        found.checked.append(
            f"the signatures are made with the keys and log-ins that {owners.path} gives to {names}: identity"
        )
        found.proves_manifest = any(one.manifest == signed.manifest for one in counted)
    found.not_proven.append(
        f"That no further sign-off, such as an earlier rejection, was left out of {SIGNATURES}/: the product database holds all."
    )


def approvals_in_words(counted: Iterable[SignOff]) -> str:
    """`approve by ada (ml_engineer, gate), ...`."""
    return ", ".join(f"{one.verdict} by {one.person} ({one.role}, {one.stage})" for one in counted)
