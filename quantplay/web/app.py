"""Addresses of the pages, their headers, and who is not answered.

A page carries no script, and the headers forbid any: neither a name in a plan nor a report can run something in a reader's browser.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from flows.known_hosts import OnlyKnownHosts
from quantplay.errors import InputError, QuantplayError, ServiceUnavailable
from quantplay.store.catalogue import Entry
from quantplay.web import around, desk, run
from quantplay.web.adoption import Looks
from quantplay.web.asked import RUNTIMES, STATES, asked
from quantplay.web.drawing import css, draw
from quantplay.web.list import imports_beside, page_of
from quantplay.web.login import Refused, to_log_in
from quantplay.web.package import facts_of, whole
from quantplay.web.sessions import VISITOR
from quantplay.web.signing import lines_for, signer_of
from quantplay.web.site import Site

log = logging.getLogger("quantplay.web")
CONTENTS = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
CONTENTS_OF_A_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": CONTENTS, "x-content-type-options": "nosniff", "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin", "cache-control": "no-store",
}  # fmt: skip
REFUSED = (
    b"These pages do not answer to this name. Reach them as localhost or by their address, or start them with the public address in "
    b"QUANTPLAY_WEB_URL.\n"
)
LARGEST_REPORT = 64 << 20
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def app_of(site: Site, names: Iterable[str] = ()) -> OnlyKnownHosts:
    """names: that the pages answer to, besides this machine's own and addresses."""

    def page(draws: Callable[[Site, Request], Response | str]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            if site.login is not None:
                visitor = site.login.visitor(request)
                if visitor is None:
                    return to_log_in(request)
                VISITOR.set(visitor)  # of the context of this one request
            drawn = draws(site, request)
            return drawn if isinstance(drawn, Response) else HTMLResponse(drawn)

        return answer

    pages = {
        "/": models, "/packages/{name:path}": package, "/reports/{name}": report_of_package, "/sign": to_sign,
        "/runs/{name}": one_run, "/runs/{name}/report": report_of_run, "/endpoints": endpoints, "/incidents": incidents,
        "/funnel": funnel, "/adoption": adoption_page(Looks()),
    }  # fmt: skip
    routes = [Route(path, page(draws)) for path, draws in pages.items()]
    routes += [Route("/style.css", style), Route("/healthz", lambda _: PlainTextResponse("ok\n"))]
    routes += desk.routes(site, site.login) if site.login is not None else []
    faults = {QuantplayError: refused, Refused: not_given, HTTPException: not_there, Exception: our_fault}
    app = Starlette(routes=routes, exception_handlers=faults)  # type: ignore[arg-type]
    return OnlyKnownHosts(WithHeaders(app), names, REFUSED)  # type: ignore[arg-type]


class WithHeaders:
    """Adds to every answer what it does not say itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                missing = [
                    (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in said
                ]
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        await self.app(scope, receive, sending)


def now() -> datetime:
    return datetime.now(UTC)


def models(site: Site, request: Request) -> str:
    looked = asked(request.query_params)
    page = page_of(site.open(), looked, now())
    imports = imports_beside(site.open(), looked)
    return draw("models", "/", asked=looked, page=page, imports=imports, states=STATES, runtimes=RUNTIMES)


def package(site: Site, request: Request) -> str:
    found = whole(site.open(), request.path_params["name"], now())
    there = (Path(found.entry.path) / "report.html").is_file()
    return draw("package", "/", whole=found, entry=found.entry, facts=facts_of(found.entry), has_report=there)


def to_sign(site: Site, _: Request) -> str:
    return draw("sign", "/sign", due=run.all_due(site.open(), site.owners))


def one_run(site: Site, request: Request) -> str:
    found = run.one_run(site.open(), request.path_params["name"], site.owners)
    there = (site.reports / str(found.run.id) / "report.html").is_file()
    visitor, signer = VISITOR.get(), None
    if site.login is not None and visitor is not None and found.due is not None:
        signer = signer_of(site.login, visitor, site.owners, found.due.waiting, found.due.missing)
    told = site.login.sessions.said(visitor) if site.login is not None and visitor is not None else ""
    return draw(
        "run", "/sign" if found.due else "/", found=found, has_report=there, told=told, signer=signer,
        lines=lines_for(signer) if signer is not None else "",
    )  # fmt: skip


def endpoints(site: Site, _: Request) -> str:
    return draw("endpoints", "/endpoints", endpoints=around.endpoints_of(site.open()))


def incidents(site: Site, _: Request) -> str:
    return draw("incidents", "/incidents", incidents=around.incidents_of(site.open()))


def funnel(site: Site, _: Request) -> str:
    return draw("funnel", "/funnel", rows=around.funnel_of(site.open()))


def adoption_page(looks: Looks) -> Callable[[Site, Request], str]:
    return lambda site, _: draw("adoption", "/adoption", part=looks.newest(site.open))


# --- reports ---------------------------------------------------------------------------------------------------------


def report_of_package(site: Site, request: Request) -> Response:
    found = locked_report(site.open().package_named(request.path_params["name"]))
    if found is None:
        raise InputError(
            "the report is not on this machine, or not as it was locked", fix="open it in the package's folder"
        )
    return shown_report(found)


def report_of_run(site: Site, request: Request) -> Response:
    found = site.open().get_run(request.path_params["name"])
    path = site.reports / str(found.id) / "report.html" if found is not None else None
    if path is None or not path.is_file() or path.stat().st_size > LARGEST_REPORT:
        raise InputError("no report of this run is on this machine", value=request.path_params["name"])
    return shown_report(path.read_bytes())


def shown_report(text: bytes) -> Response:
    return Response(
        text, media_type="text/html; charset=utf-8", headers={"content-security-policy": CONTENTS_OF_A_REPORT}
    )


def locked_report(entry: Entry) -> bytes | None:
    """The package's report, where its folder is on this machine and the report is the very one that was locked."""
    folder = Path(entry.path)
    try:
        manifest = (folder / "manifest.json").read_bytes()
        if hashlib.sha256(manifest).hexdigest() != entry.manifest:
            return None
        listed = {one["path"]: one["sha256"] for one in json.loads(manifest)["files"]}
        report = folder / "report.html"
        if report.stat().st_size > LARGEST_REPORT:
            return None
        text = report.read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return text if hashlib.sha256(text).hexdigest() == listed.get("report.html") else None


# --- what is not a page ----------------------------------------------------------------------------------------------


def style(_: Request) -> Response:
    return Response(css(), media_type="text/css; charset=utf-8", headers={"cache-control": "max-age=3600"})


def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, QuantplayError)
    if isinstance(error, InputError):
        return fault(404, "This is not here", str(error))
    if isinstance(error, ServiceUnavailable):
        return fault(503, "The database can't be reached now", error.what)
    log.exception("a page could not be drawn", exc_info=error)
    return fault(500, "This page can't be drawn", error.what)


def not_given(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return fault(error.status, error.title, error.why)


def not_there(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return fault(error.status_code, "This is not here", error.detail)


def our_fault(_: Request, error: Exception) -> Response:
    log.error("a page could not be drawn", exc_info=error)
    return fault(500, "This page can't be drawn", "A fault of ours; the log of `quantplay web` says more.")


def fault(status: int, title: str, said: str) -> Response:
    return HTMLResponse(draw("fault", "", title=title, said=said), status)
