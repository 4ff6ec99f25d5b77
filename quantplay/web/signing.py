"""Signing on the pages: a verdict becomes the text that everybody signs; a log-in made for that very text is the signature."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from quantplay.errors import InputError
from quantplay.handoff.signing import reasons_of, record_signature, stands_now, statement_for
from quantplay.records import Role, SignOff
from quantplay.signoff import Person, parse, read_owners, render
from quantplay.signoff.login import NotVouched, bundle, nonce_for
from quantplay.signoff.text import SignVerdict
from quantplay.store.registry import Store
from quantplay.store.requests import Request as Asked
from quantplay.store.requests import Waiting
from quantplay.store.runs import Run
from quantplay.web.login import LogIn, Refused, new_away
from quantplay.web.sessions import ANSWER_SECONDS, Away, Session

log = logging.getLogger("quantplay.web")
VALID = timedelta(seconds=ANSWER_SECONDS)
VERDICTS: tuple[SignVerdict, ...] = get_args(SignVerdict)
Resume = Callable[[Asked, str], str]
"""Has a suspended run go on; what became of it, a sentence."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """What somebody who is logged in may do on a run's page."""

    person: Person | None  # None: the owners file gives this log-in to nobody
    roles: tuple[Role, ...]  # as which they may sign now
    subject: str
    issuer: str
    about: str  # digest of what is to be signed: what was on the page is what is signed


def signer_of(
    login: LogIn, session: Session, owners: Path, waiting: Waiting | None, missing: tuple[Role, ...]
) -> Signer:
    person = None
    try:
        person = read_owners(owners).logged_in(login.at.issuer, session.subject or "")
    except InputError as error:
        log.warning("the owners file can't be used: %s", str(error).splitlines()[0])
    roles: tuple[Role, ...] = tuple(role for role in missing if person is not None and role in person.roles)
    about = about_of(waiting) if waiting is not None else ""
    return Signer(person=person, roles=roles, subject=session.subject or "", issuer=login.at.issuer, about=about)


def about_of(waiting: Waiting) -> str:
    waits = waiting.waits
    return " ".join((waits.stage, waits.gate, waits.decision, waits.manifest or "-", waits.business_case or "-"))


def prepared(
    store: Store, login: LogIn, session: Session, owners: Path, run: Run, given: Mapping[str, str]
) -> str:  # fmt: skip
    """The state under which the text waits that somebody chose to sign. Raises Refused, and InputError for what can't be signed."""
    waiting = store.waiting(run.id)
    if waiting is None:
        raise Refused("This run does not wait for a signature", "Nothing was signed.", 409)
    if given.get("about") != about_of(waiting):
        raise Refused("Something else is to be signed by now", "Nothing was signed. Read the run's page again.", 409)
    person = read_owners(owners).logged_in(login.at.issuer, session.subject or "")
    role, verdict = given.get("role", ""), given.get("verdict", "")
    if person is None or role not in person.roles:
        raise Refused("You may not sign this", f"The owners file does not give you the role {role[:40]!r}.", 403)
    if verdict not in VERDICTS:
        raise Refused("Yes or no?", f"Choose one of: {', '.join(VERDICTS)}.")
    comment = " ".join(given.get("comment", "").split())
    said = render(statement_for(waiting.waits, role, verdict, person.name, comment, VALID))  # type: ignore[arg-type]
    return login.sessions.send(session, new_away(nonce=nonce_for(said), back=f"/runs/{run.id}", text=said))


def to_confirm(login: LogIn, session: Session, state: str) -> dict[str, Any]:
    """The text, and where the log-in is that signs it."""
    away = login.sessions.look(session, state)
    if away is None or away.text is None:
        raise Refused(
            "This text is not to be signed any more", "It was signed, or it waited too long. Choose again.", 404
        )
    address = login.at.address(state=state, nonce=away.nonce, verifier=away.verifier, again=True)
    return {
        "text": away.text.decode(),
        "said": parse(away.text),
        "address": address,
        "back": away.back,
        "at": login.at.host,
    }


def signed(store: Store, login: LogIn, session: Session, owners: Path, away: Away, code: str) -> SignOff:
    """Record what the provider vouches for. Raises Refused with every reason, and nothing is recorded."""
    assert away.text is not None
    said = parse(away.text)
    try:
        answer = login.at.redeem(code, away.verifier)
        if answer.vouched.login.subject != session.subject:
            raise NotVouched("is by somebody else than is logged in here")
    except NotVouched as reason:
        log.warning("a signature under run %s was refused: the token %s", said.run[:8], reason)
        raise Refused("Nothing was signed", f"What the provider sent {reason}.") from None
    run = store.get_run(said.run)
    waits = store.awaiting(run.id) if run is not None else None
    if waits is None:
        raise Refused("This run does not wait for a signature any more", "Nothing was signed.", 409)
    try:
        return record_signature(store, waits, read_owners(owners), away.text, bundle(answer.token, answer.key))
    except InputError as error:
        raise Refused("Nothing was signed", "; ".join(reasons_of(error))) from None


def goes_on(store: Store, owners: Path, signoff: SignOff, resume: Resume | None) -> str:
    """What follows from a signature, a sentence."""
    run = store.get_run(signoff.run)
    waiting = store.waiting(run.id) if run is not None else None
    if waiting is None:
        return "The run has gone on."
    waits = waiting.waits
    if stands_now(store, waits, read_owners(owners)).state == "awaiting":
        return "Others still have to sign."
    if waiting.request is not None and resume is not None:
        return resume(waiting.request, waits.address or waits.plan_path)
    return f"The run goes on with `quantplay run {waits.plan_path}` where that plan lies."


def lines_for(signer: Signer) -> str:
    """What the owners file needs so that this person can sign."""
    return f"    logins:\n      - issuer: {signer.issuer}\n        subject: {json.dumps(signer.subject)}\n"
