"""Addresses for people who log in: in, out, and a run's signature. They are there only where a provider is configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from quantplay.errors import InputError
from quantplay.store.runs import Run
from quantplay.web import signing
from quantplay.web.drawing import draw
from quantplay.web.login import LogIn, Refused, came_back, form_of, log_in, log_out, logged_in, to_log_in, within
from quantplay.web.sessions import VISITOR, Session
from quantplay.web.site import Site

Posted = Callable[[Site, LogIn, Session, Request, Mapping[str, str]], Response]


def routes(site: Site, login: LogIn) -> list[Route]:
    return [
        Route("/login", lambda request: log_in(login, request)),
        Route("/callback", lambda request: back(site, login, request)),
        Route("/bye", lambda _: HTMLResponse(draw("bye", ""))),
        Route("/logout", posted(site, login, out), methods=["POST"]),
        Route("/runs/{name}/sign", posted(site, login, choose), methods=["POST"]),
        Route("/runs/{name}/sign/{state}", lambda request: confirm(login, request)),
    ]


def posted(site: Site, login: LogIn, does: Posted) -> Callable[[Request], Awaitable[Response]]:
    """A form of somebody who is logged in, sent by a page of ours."""

    def answer(request: Request, body: bytes) -> Response:
        session = login.visitor(request)
        if session is None:
            raise Refused("You are not logged in any more", "Nothing was done. Log in, and do it again.", 403)
        return does(site, login, session, request, form_of(login, session, request, body))

    async def read(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body = within(body + part)
        return await run_in_threadpool(answer, request, body)

    return read


def out(_: Site, login: LogIn, session: Session, __: Request, ___: Mapping[str, str]) -> Response:
    return log_out(login, session)


def choose(site: Site, login: LogIn, session: Session, request: Request, given: Mapping[str, str]) -> Response:
    """A verdict: its text is shown before it is signed."""
    store = site.open()
    run = run_of(site, request)
    try:
        state = signing.prepared(store, login, session, site.owners, run, given)
    except InputError as error:
        raise Refused("This can't be signed", f"{error.what}: {error.value}. Allowed: {error.allowed}.") from None
    return RedirectResponse(f"/runs/{run.id}/sign/{state}", 303)


def run_of(site: Site, request: Request) -> Run:
    found = site.open().get_run(request.path_params["name"])
    if found is None:
        raise InputError("there is no such run", value=request.path_params["name"])
    return found


def confirm(login: LogIn, request: Request) -> Response:
    session = login.visitor(request)
    if session is None:
        return to_log_in(request)
    told = signing.to_confirm(login, session, request.path_params["state"])
    VISITOR.set(session)
    return HTMLResponse(draw("confirm", "/sign", **told))


def back(site: Site, login: LogIn, request: Request) -> Response:
    """From the provider: logged in, or signed."""
    session, away, code = came_back(login, request)
    if away.text is None:
        return logged_in(login, session, away, code)
    store = site.open()
    signoff = signing.signed(store, login, session, site.owners, away, code)
    session.told = f"Recorded: {signoff.verdict} as {signoff.role.replace('_', ' ')}. " + signing.goes_on(
        store, site.owners, signoff, site.resume
    )
    return RedirectResponse(away.back, 303)
