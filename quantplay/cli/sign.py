"""`quantplay sign RUN`: a person says yes or no to a decision or a package, with an SSH key; the run goes on when all have."""

from __future__ import annotations

import json as json_library
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.records import Role
    from quantplay.signoff import Owners, Statement
    from quantplay.signoff.text import SignVerdict
    from quantplay.store.registry import Store
    from quantplay.store.requests import Request
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
        waiting = store.waiting(row.id)
        asked = waiting.request if waiting is not None else None
        row = store.get_run(str(row.id)) or row
        records = records_of(store, row)
    from quantplay.cli.run import run_and_read, tell

    page = None
    due = waiting is not None and (goes_on or waiting.expired_at is not None)  # an expired request is asked again
    if due and asked is not None and goes_on_in_prefect(asked, waits, complete=goes_on):
        return tell(records, asked.page, json=json, ending_only=True)
    if goes_on and records.awaiting is not None:
        plan = Path(waits.plan_path)
        if plan.is_file() and plan_digest(plan) != row.plan:
            say(f"{plan} was edited since. With the plan as it was, `quantplay run {plan}` goes on with this run.")
        elif plan.is_file():
            records, page = run_and_read(plan, waits.run)
        else:
            say(f"The plan is not on this machine. Where it is, `quantplay run {plan}` goes on with this run.")
    return tell(records, page, json=json, ending_only=True)


def goes_on_in_prefect(asked: Request, waits: Awaiting, *, complete: bool) -> bool:
    """Whether the deployed run goes on by itself after this signature, with the words for it; False: it has to be run here.

    A signature is recorded whatever becomes of this.
    """
    from flows.suspended import go_on
    from quantplay.settings import settings

    try:
        found = go_on(settings(), asked, waits.address or waits.plan_path)
    except OSError as error:
        found = None
        reason = str(error)
    else:
        reason = "it does not answer"
    if found is None or found.how == "no server":
        say(
            f"The signature is recorded. The Prefect server was not reached ({reason}), so the run does not go on yet: it does so by "
            "itself within an hour after the server is back (`quantplay up`), or when somebody presses Resume there, with an empty form."
        )
        return True
    if found.how == "no deployment":
        return False
    where = f": {found.page}" if found.page else ""
    if found.how == "resumed":
        say(f"The suspended run was resumed and goes on by itself{where}")
    elif found.how == "started":
        what = "goes on" if complete else "asks again for the signatures that are missing"
        say(f"The flow run that asked has ended; a new one {what}{where}")
    else:
        say(f"The run is going on already{where}")
    return True


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
    from quantplay.handoff.signing import stands_now

    return bool(store.signoffs_of(waits.run)) and stands_now(store, waits, owners_of_settings()).state != "awaiting"


# --- the text and the signature --------------------------------------------------------------------------------------


def statement_of(waits: Awaiting, role: str, verdict: str, person: str, comment: str) -> Statement:
    from typing import cast

    from quantplay.handoff.signing import statement_for

    return statement_for(waits, cast_role(role), cast("SignVerdict", verdict), person, comment)


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
    said = render(statement_of(waits, role, verdict, person.name, comment))
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
    statement = statement_of(waits, role, verdict, candidates[0].name, comment)
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
    from quantplay.handoff.signing import record_signature

    before = store.signoffs_of(row.id)
    signoff = record_signature(store, waits, owners, said, armored)
    say(f"Recorded: {signoff.verdict} by {signoff.person} as {signoff.role}, stage {signoff.stage}.")
    for old in before:
        if (old.stage, old.role) == (signoff.stage, signoff.role):
            say(f"It takes the place of `{old.verdict}` by {old.person}, {old.recorded_at}, which stays on record.")


def plan_digest(plan: Path) -> str:
    from quantplay.plan_file import read_plan

    return read_plan(plan).digest()
