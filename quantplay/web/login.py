"""Logging in at the OpenID provider and out again. What the provider sends back counts once, and only for the browser that asked."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from quantplay.errors import InputError
from quantplay.signoff.login import NotVouched
from quantplay.web.provider import Connection, new_verifier
from quantplay.web.sessions import COOKIE, LONGEST_SECONDS, Away, Session, Sessions

log = logging.getLogger("quantplay.web")
LONGEST_PATH = 1000
LARGEST_FORM = 64 << 10


@dataclass(frozen=True, kw_only=True)
class LogIn:
    """How people log in here."""

    at: Connection
    sessions: Sessions = field(default_factory=Sessions)

    def visitor(self, request: Request) -> Session | None:
        """Who sent this, if they are logged in."""
        found = self.sessions.of(request.cookies.get(COOKIE))
        return found if found is not None and found.subject is not None else None


class Refused(Exception):
    """What somebody asked for and does not get: a title and why."""

    def __init__(self, title: str, why: str, status: int = 400) -> None:
        super().__init__(title)
        self.title, self.why, self.status = title, why, status


def path_of(text: str) -> str:
    """A path on these pages; the first page for anything that leads elsewhere."""
    plain = text.startswith("/") and text.isascii() and text.isprintable() and len(text) <= LONGEST_PATH
    if not plain or text.startswith("//") or "\\" in text or urlsplit(text).netloc:
        return "/"
    return text


def to_log_in(request: Request) -> Response:
    """For somebody who is not logged in: to the log-in, and back here afterwards."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(path_of(here), safe='')}", 303)


def log_in(login: LogIn, request: Request) -> Response:
    """To the provider."""
    back = path_of(request.query_params.get("next", "/"))
    if login.visitor(request) is not None:
        return RedirectResponse(back, 303)
    session = login.sessions.of(request.cookies.get(COOKIE)) or login.sessions.begin()
    away = new_away(nonce=secrets.token_hex(32), back=back)
    return with_cookie(RedirectResponse(address_for(login, session, away, again=False), 303), session)


def new_away(*, nonce: str, back: str, text: bytes | None = None) -> Away:
    return Away(nonce=nonce, verifier=new_verifier(), back=back, began=0.0, text=text)


def address_for(login: LogIn, session: Session, away: Away, *, again: bool) -> str:
    login.at.description()  # where it can't be asked, nothing is kept of this
    state = login.sessions.send(session, away)
    return login.at.address(state=state, nonce=away.nonce, verifier=away.verifier, again=again)


def logged_in(login: LogIn, session: Session, away: Away, code: str) -> Response:
    """Back from the provider with a log-in to read: a session of its own, so that nobody can have prepared it."""
    try:
        answer = login.at.redeem(code, away.verifier)
        if not secrets.compare_digest(answer.vouched.nonce, away.nonce):
            raise NotVouched("answers another log-in")
    except NotVouched as reason:
        log.warning("a log-in was refused: the token %s", reason)
        raise Refused("You are not logged in", f"What the provider sent {reason}.") from None
    name = answer.vouched.claims.get("name")
    subject = answer.vouched.login.subject
    greeted = name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100 else subject
    made = login.sessions.begin(subject, greeted)
    login.sessions.end(session)
    return with_cookie(RedirectResponse(away.back, 303), made)


def came_back(login: LogIn, request: Request) -> tuple[Session, Away, str]:
    """(session, what it was for, code) of somebody whom the provider sent back. Raises Refused."""
    query = request.query_params
    session = login.sessions.of(request.cookies.get(COOKIE))
    away = login.sessions.returned(session, query.get("state", "")) if session is not None else None
    if session is None or away is None:
        raise Refused("This log-in was not begun here", "Or it took too long, or was answered before. Begin again.")
    if query.get("iss", login.at.issuer) != login.at.issuer:
        raise Refused("Another provider answered", "Nothing was done.")
    code = query.get("code")
    if query.get("error") or not code:
        what = "Nothing was signed" if away.text is not None else "You are not logged in"
        raise Refused(what, f"{login.at.host} did not confirm who you are. Nothing was recorded.")
    return session, away, code


def log_out(login: LogIn, session: Session) -> Response:
    login.sessions.end(session)
    answer = RedirectResponse("/bye", 303)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def with_cookie(answer: Response, session: Session) -> Response:
    """Scripts can't read it, other sites can't send it with a form, and it never travels without TLS."""
    answer.set_cookie(COOKIE, session.id, max_age=LONGEST_SECONDS, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def form_of(login: LogIn, session: Session, request: Request, body: bytes) -> Mapping[str, str]:
    """What a form of ours holds, sent by a page of ours. Raises Refused for any other."""
    origin = request.headers.get("origin")
    ours = urlsplit(login.at.callback)
    try:
        given = {
            name: values[-1]
            for name, values in parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20).items()
        }
    except ValueError:
        raise Refused("This form can't be read", "Nothing was done.") from None
    if origin not in (None, f"{ours.scheme}://{ours.netloc}") or not secrets.compare_digest(
        given.get("csrf", "").encode(), session.csrf.encode()
    ):
        raise Refused("This did not come from these pages", "Nothing was done. Open the page again.", 403)
    return given


def within(body: bytes) -> bytes:
    if len(body) > LARGEST_FORM:
        raise InputError("the form is too long", allowed=f"{LARGEST_FORM} bytes")
    return body
