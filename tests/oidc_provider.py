"""A small OpenID provider of our own, over HTTP: discovery, keys, log-in page, codes with PKCE, signed tokens. For tests only."""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from quantplay.live.gateway.serve import listen

CLIENT, SECRET = "quantplay", "a secret of the tests & nobody else's"


def made_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(8), "use": "sig", "alg": "RS256"})


@dataclass
class Provider:
    """Who has an account, and what was handed out."""

    issuer: str
    key: RSAKey = field(default_factory=made_key)
    people: dict[str, tuple[str, str]] = field(default_factory=dict)  # user -> (password, subject)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)  # every request for a log-in
    secrets_seen: list[str] = field(default_factory=list)  # tokens that must be in no log
    instead: dict[str, Any] = field(default_factory=dict)  # claims of the next tokens that say something else

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        told = {
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "auth_time": now, **claims, **self.instead,
        }  # fmt: skip
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, told, self.key)

    @property
    def public(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))

    def owners_text(self) -> str:
        """The `providers:` part of an owners file."""
        return f"providers:\n  - issuer: {self.issuer}\n    client: {CLIENT}\n    keys: [{self.key.thumbprint()}]\n"

    # --- over HTTP ---------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/keys", lambda _: JSONResponse({"keys": [self.public]})),
            Route("/authorize", self.authorize, methods=["GET", "POST"]),
            Route("/token", self.exchange, methods=["POST"]),
        ]

    def discovery(self, _: Request) -> Response:
        return JSONResponse({
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys", "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"], "code_challenge_methods_supported": ["S256"],
        })  # fmt: skip

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT or asked.get("response_type") != "code":
            return HTMLResponse("no such client", 400)
        if request.method == "GET":
            self.asked.append(asked)
            return HTMLResponse(FORM.format(query=html.escape(urlencode(asked))))
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        password, subject = self.people.get(given.get("user", ""), ("", ""))
        if given.get("refuse"):
            told = {"error": "access_denied", "state": asked["state"]}
        elif not password or given.get("password") != password:
            return HTMLResponse(FORM.format(query=html.escape(urlencode(asked))), 401)
        else:
            code = secrets.token_urlsafe(24)
            self.secrets_seen.append(code)
            self.codes[code] = {**asked, "subject": subject, "user": given["user"]}
            told = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(told)}", 303)

    async def exchange(self, request: Request) -> Response:
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        basic = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        asked = self.codes.pop(given.get("code", ""), None)  # good once
        if basic != f"{CLIENT}:{SECRET}":
            return JSONResponse({"error": "invalid_client"}, 401)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given.get("code_verifier", "").encode()).digest()).rstrip(
            b"="
        )
        if (
            asked is None
            or asked["redirect_uri"] != given.get("redirect_uri")
            or asked["code_challenge"] != challenge.decode()
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        told = {"sub": asked["subject"], "nonce": asked["nonce"]}
        if "profile" in asked["scope"]:
            told["name"] = asked["user"].title()
        token = self.token(**told)
        access = secrets.token_urlsafe(24)
        self.secrets_seen += [token, access]
        return JSONResponse({"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": token})


FORM = """<!doctype html><title>Log in</title><link rel="icon" href="data:,"><h1>The provider of the tests</h1><form method="post" action="/authorize?{query}">
<label>User <input name="user" autocomplete="username"></label> <label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button> <button name="refuse" value="1">Refuse</button></form>"""


@contextmanager
def provider() -> Iterator[Provider]:
    """It listens on this machine, and knows Grace and Ada."""
    place = listen("127.0.0.1", 0)
    made = Provider(issuer=f"http://127.0.0.1:{place.getsockname()[1]}")
    made.people = {"grace": ("grace's password", "g-1906"), "ada": ("ada's password", "a-1815")}
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=made.routes()), http="h11", ws="none", lifespan="off", log_config=None)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[place]))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield made
    finally:
        server.should_exit = True
        thread.join()
