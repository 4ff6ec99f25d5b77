"""`quantplay sign RUN`: a person says yes or no to a decision or a package, with an SSH key; the run goes on when all have."""

from __future__ import annotations

import json as json_library
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.errors import Fault, InputError

if TYPE_CHECKING:
    from quantplay.records import Role, SignOff
    from quantplay.signoff import Case, Owners, Statement
    from quantplay.store.registry import Store
    from quantplay.store.runs import Run
    from quantplay.store.signoffs import Awaiting

DEFAULT_KEY = Path("~/.ssh/id_ed25519")


def command(
    run: str, role: str | None, verdict: str | None, comment: str, key: Path | None, request: Path | None,
    text: Path | None, signature: Path | None, json: bool = False,
) -> int:  # fmt: skip
    from quantplay.cli.render_signoffs import REVOKED
    from quantplay.cli.run_records import records_of, why_revoked
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    require_usage(role, verdict, request, text, signature)
    with open_store(settings()) as store:
        row, waits = waiting_run(store, run)
        if settled(store, waits):
            say("Every signature of this stage is there already; nothing new is signed, the run goes on.")
        elif request is not None:
            assert role is not None
            assert verdict is not None
            return write_request(waits, role, verdict, comment, key, request, json=json)
        else:
            owners = owners_of_settings()
            if (revoked := why_revoked(store, waits)) is not None:
                say(f"{REVOKED}: {revoked}")
            if text is not None and signature is not None:
                said, armored = read_file(text), read_file(signature).decode("ascii", "replace")
            else:
                assert role is not None
                assert verdict is not None
                said, armored = signed_here(waits, owners, role, verdict, comment, key)
            record(store, row, waits, owners, said, armored)
        goes_on = settled(store, waits)
        row = store.get_run(str(row.id)) or row
        records = records_of(store, row)
    from quantplay.cli.run import run_and_read, tell

    page = None
    if goes_on and records.awaiting is not None:
        plan = Path(waits.plan_path)
        if plan.is_file() and plan_digest(plan) != row.plan:
            say(f"{plan} was edited since. With the plan as it was, `quantplay run {plan}` goes on with this run.")
        elif plan.is_file():
            records, page = run_and_read(plan, waits.run)
        else:
            say(f"The plan is not on this machine. Where it is, `quantplay run {plan}` goes on with this run.")
    return tell(records, page, json=json, ending_only=True)


def say(line: str) -> None:
    from rich.markup import escape

    from quantplay.cli.console import errors_console

    errors_console().print(escape(line))


def require_usage(
    role: str | None, verdict: str | None, request: Path | None, text: Path | None, signature: Path | None
) -> None:
    """The options fit together. Raises InputError."""
    from quantplay.signoff.owners import ROLES

    submits = text is not None or signature is not None
    if submits and (text is None or signature is None or role or verdict or request):
        raise InputError(
            "--text and --signature go together, and alone: the text names role and verdict",
            fix="quantplay sign RUN --text FILE --signature FILE.sig",
        )
    if not submits and (role is None or verdict is None):
        raise InputError(
            "who signs as what, and yes or no?", allowed=f"--role {'|'.join(ROLES)}, and one of --approve, --reject, --rework",
            fix="quantplay sign RUN --role product_owner --approve",
        )  # fmt: skip
    if role is not None and role not in ROLES:
        raise InputError("there is no such role", value=role, allowed=", ".join(ROLES))


def owners_of_settings() -> Owners:
    from quantplay.settings import settings
    from quantplay.signoff import read_owners

    return read_owners(settings().owners)


def waiting_run(store: Store, prefix: str) -> tuple[Run, Awaiting]:
    """The run and what it waits for. Raises InputError where there is nothing to sign."""
    from quantplay.signoff.rules import run_fault

    row = store.get_run(prefix) if prefix.strip() else None
    if row is None:
        raise InputError("there is no such run", value=prefix, fix="`quantplay show` lists the runs")
    waits = store.awaiting(row.id)
    fault = run_fault(str(row.id), row.profile, row.outcome, waits is not None)
    if fault is not None:
        raise InputError("there is nothing to sign", faults=[fault])
    assert waits is not None
    return row, waits


def settled(store: Store, waits: Awaiting) -> bool:
    """Whether the stage is decided: approved by all, or refused by one, with signatures that count."""
    from quantplay.signoff import standing, verified

    recorded = store.signoffs_of(waits.run)
    good = verified(recorded, owners_of_settings())[0] if recorded else ()
    found = standing(
        waits.stage, good, gate=waits.gate, decision=waits.decision, gate_changes=waits.gate_changes,
        manifest=waits.manifest,
    )  # fmt: skip
    return found.state != "awaiting"


# --- the text and the signature --------------------------------------------------------------------------------------


def statement_for(waits: Awaiting, role: str, verdict: str, person: str, comment: str) -> Statement:
    from quantplay.signoff import new_statement

    fields: dict[str, Any] = {"role": role, "verdict": verdict}
    return new_statement(
        run=waits.run, stage=waits.stage, person=person, gate=waits.gate, decision=waits.decision, manifest=waits.manifest,
        gate_changes=waits.gate_changes, comment=comment, **fields,
    )  # fmt: skip


def signed_here(
    waits: Awaiting, owners: Owners, role: str, verdict: str, comment: str, key: Path | None
) -> tuple[bytes, str]:
    """The text and its signature by the key on this machine, whose fingerprint says who is signing."""
    from quantplay.signoff import render, ssh

    path = (key or DEFAULT_KEY).expanduser()
    fingerprint = ssh.fingerprint_of_key(path)
    person = owners.holder(fingerprint)
    if person is None:
        raise InputError(
            "this key belongs to nobody in the owners file", value=f"{path}: {fingerprint}",
            allowed=", ".join(f"{one.name}: {' '.join(one.fingerprints)}" for one in owners.people),
            fix=f"give another one with --key, or have the line of its .pub file added to {owners.path}",
        )  # fmt: skip
    said = render(statement_for(waits, role, verdict, person.name, comment))
    say(f"{person.name} signs:\n\n{said.decode()}")
    return said, ssh.sign(said, path)


def write_request(
    waits: Awaiting, role: str, verdict: str, comment: str, key: Path | None, request: Path, *, json: bool
) -> int:
    """Write the text for somebody who signs elsewhere, and how to. `key`: which person's, where several have the role."""
    from quantplay.engines.whole_file import written_whole
    from quantplay.signoff import render, ssh

    owners = owners_of_settings()
    candidates = owners.with_role(cast_role(role))
    if key is not None:
        holder = owners.holder(ssh.fingerprint_of_key(key.expanduser()))
        candidates = tuple(one for one in candidates if one == holder)
    if len(candidates) != 1:
        raise InputError(
            f"{'nobody' if not candidates else 'more than one person'} in the owners file could sign this as {role}",
            value=", ".join(one.name for one in candidates) or None,
            fix="say whose signature it is to be with --key THEIR.pub" if candidates else f"add them to {owners.path}",
        )  # fmt: skip
    if request.exists():
        raise InputError("there is a file already, which is not overwritten", value=request, fix="name another one")
    statement = statement_for(waits, role, verdict, candidates[0].name, comment)
    with written_whole(request) as partial:
        partial.write_bytes(render(statement))
    if json:
        body = {"request": str(request), "person": statement.person, "expires_at": statement.expires_at}
        print(json_library.dumps(body | {"namespace": ssh.NAMESPACE}))
        return 0
    say(
        f"{request} is for {statement.person}, until {statement.expires_at}. They read it, and sign it with\n\n"
        f"  ssh-keygen -Y sign -n {ssh.NAMESPACE} -f ~/.ssh/id_ed25519 {request}\n\n"
        f"which writes {request}.sig. With both files back here:\n\n"
        f"  quantplay sign {waits.run[:8]} --text {request} --signature {request}.sig"
    )
    return 0


def cast_role(role: str) -> Role:
    from typing import cast

    return cast("Role", role)


def read_file(path: Path) -> bytes:
    """A small file a user named."""
    from quantplay.signoff.text import LARGEST_BYTES

    try:
        if not path.is_file():
            raise InputError("there is no such file", value=path)
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} can't be read", value=error.strerror) from error


# --- the record ------------------------------------------------------------------------------------------------------


def record(store: Store, row: Run, waits: Awaiting, owners: Owners, said: bytes, armored: str) -> None:
    """Check the signature by every rule and record it; refused with all reasons at once."""
    from quantplay.signoff import check_signoff, parse, record_of, ssh, verified

    statement, now = parse(said), datetime.now(UTC)
    person = owners.person(statement.person)
    signed_with = ssh.verify(said, armored, person.name, person.keys) if person is not None else None
    newer, plan_gate = store.newer_gates(row.id), gate_of_plan(Path(waits.plan_path))

    def check(recorded: Sequence[SignOff], still: Awaiting | None, used: str | None) -> Sequence[Fault]:
        if still is None:
            return [
                Fault(where=f"run {waits.run[:8]}", what="was ended by somebody else meanwhile", fix="quantplay show")
            ]
        case = case_of(still, verified(recorded, owners)[0], used, newer, plan_gate)
        return check_signoff(statement, case, owners, signed_with=signed_with, now=now)

    before = store.signoffs_of(row.id)
    signoff = record_of(statement, text=said, signature=armored, key=signed_with or "none", owners=owners, now=now)
    store.put_signoff(signoff, check)
    say(f"Recorded: {signoff.verdict} by {signoff.person} as {signoff.role}, stage {signoff.stage}.")
    for old in before:
        if (old.stage, old.role) == (signoff.stage, signoff.role):
            say(f"It takes the place of `{old.verdict}` by {old.person}, {old.recorded_at}, which stays on record.")


def case_of(
    waits: Awaiting,
    recorded: Sequence[SignOff],
    used: str | None,
    newer: tuple[tuple[str, str], ...],
    plan_gate: str | None,
) -> Case:
    from quantplay.signoff import Case

    return Case(
        run=waits.run, stage=waits.stage, gate=waits.gate, decision=waits.decision, manifest=waits.manifest,
        gate_changes=waits.gate_changes, plan_path=waits.plan_path, plan_gate=plan_gate, newer=newer,
        recorded=tuple(recorded), nonce_used_at=used,
    )  # fmt: skip


def plan_digest(plan: Path) -> str:
    from quantplay.plan_file import read_plan

    return read_plan(plan).digest()


def gate_of_plan(plan: Path) -> str | None:
    """Digest of the gate in the plan file as it is now; None where the file is not on this machine."""
    from quantplay.plan_file import read_plan

    return read_plan(plan).gate_digest() if plan.is_file() else None
