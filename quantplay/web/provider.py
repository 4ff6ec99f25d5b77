"""The OpenID provider over HTTP: where it is asked, its keys, and the token for a code. Secrets and tokens go to it and into no log."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.signoff.login import CLOCKS_APART, NotVouched, Vouched, public_key, token_of
from quantplay.signoff.providers import ISSUER_ALLOWED, Provider, is_issuer

SECONDS = 10.0
KNOWN_SECONDS = 3600.0  # how long its own description is believed
LARGEST_SECRET = 4096


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the provider vouches for, with the token and the key that verifies it."""

    vouched: Vouched
    token: str
    key: Mapping[str, Any]


@dataclass
class Connection:
    """Our client at one provider."""

    issuer: str
    client: str
    callback: str  # address of ours that it sends people back to
    secret: str | None = field(default=None, repr=False)
    described: tuple[float, Mapping[str, Any]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return urlsplit(self.issuer).netloc

    def description(self) -> Mapping[str, Any]:
        """What it says of itself. Raises ServiceUnavailable, and InputError where it is another than it should be."""
        with self.lock:
            if self.described is None or time.monotonic() - self.described[0] > KNOWN_SECONDS:
                found = self.got(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self.issuer:
                    raise InputError(
                        "the OpenID provider names itself otherwise", value=str(found.get("issuer")), allowed=self.issuer,
                        fix="set QUANTPLAY_OIDC_ISSUER to the name it gives itself",
                    )  # fmt: skip
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    address = found.get(name)
                    if not isinstance(address, str) or not is_issuer(address.partition("?")[0]):
                        raise InputError(
                            f"the OpenID provider's {name} is not safe", value=str(address), allowed="an https address"
                        )
                self.described = (time.monotonic(), found)
            return self.described[1]

    def keys(self) -> list[Mapping[str, Any]]:
        """Its public keys that may verify tokens."""
        listed = self.got(self.description()["jwks_uri"]).get("keys")
        found = []
        for key in listed if isinstance(listed, list) else []:
            try:
                if isinstance(key, dict) and key.get("use", "sig") == "sig":
                    public_key(key)
                    found.append(key)
            except NotVouched:
                continue
        return found

    def thumbprints(self) -> list[str]:
        """Of its keys, as owners files list them."""
        return [public_key(key).thumbprint() for key in self.keys()]

    def address(self, *, state: str, nonce: str, verifier: str, again: bool) -> str:
        """Where to log in. again: also for somebody who is logged in there; no more is asked for then than who it is."""
        return self.session(scope="openid" if again else "openid profile").create_authorization_url(
            self.description()["authorization_endpoint"], state=state, nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier), code_challenge_method="S256",
            **({"prompt": "login"} if again else {}),
        )[0]  # fmt: skip

    def redeem(self, code: str, verifier: str) -> Answer:
        """The token for a code. Raises NotVouched where it does not hold, ServiceUnavailable where nobody answers."""
        try:
            with self.session() as session:
                got = session.fetch_token(
                    self.description()["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                )
        except AuthlibBaseError as error:
            raise NotVouched(f"was not handed out by the provider: {error.error}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise unreachable(self.issuer, error) from None
        token = got.get("id_token")
        if not isinstance(token, str):
            raise NotVouched("is missing: the provider sent no id_token")
        return self.read(token)

    def read(self, token: str) -> Answer:
        """A fresh token by one of the provider's keys."""
        reason = NotVouched("is by no key that the provider publishes")
        for key in self.keys():
            made = public_key(key)
            try:
                found = token_of(
                    Provider(issuer=self.issuer, client=self.client, keys=()), token, {"key": made, "thumbprint": made.thumbprint()}
                )  # fmt: skip
            except NotVouched as error:
                reason = error
                continue
            now, ends = time.time(), found.claims.get("exp")
            if not isinstance(ends, int | float) or now > ends + CLOCKS_APART.total_seconds():
                raise NotVouched("has expired")
            return Answer(vouched=found, token=token, key=dict(made.as_dict(private=False)))
        raise reason

    def session(self, scope: str | None = None) -> Any:
        """Authlib's client; it has no types."""
        method = "client_secret_basic" if self.secret else "none"
        return OAuth2Client(
            self.client, self.secret, scope=scope, redirect_uri=self.callback, token_endpoint_auth_method=method,
            timeout=SECONDS, follow_redirects=False,
        )  # fmt: skip

    def got(self, address: str) -> Mapping[str, Any]:
        try:
            with self.session() as session:
                answer = session.request("GET", address, withhold_token=True)
            answer.raise_for_status()
            body = answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:  # network, status, or no JSON
            raise unreachable(self.issuer, error) from None
        if not isinstance(body, dict):
            raise unreachable(self.issuer, ValueError())
        return body


def unreachable(issuer: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        "the OpenID provider can't be asked now", value=f"{issuer}: {type(error).__name__}", fix="try again"
    )


def new_verifier() -> str:
    return generate_token(64)


def connection(issuer: str, client: str, secret_file: Path | None, url: str | None) -> Connection:
    """By the settings. Raises InputError before anybody is served."""
    if not is_issuer(issuer):
        raise InputError("QUANTPLAY_OIDC_ISSUER is no OpenID provider", value=issuer, allowed=ISSUER_ALLOWED)
    if url is None:
        raise InputError(
            "log-in needs the address at which people reach these pages", fix="set QUANTPLAY_WEB_URL, such as https://registry.example.com"
        )  # fmt: skip
    if not is_issuer(url):
        raise InputError("log-in needs TLS", value=url, allowed="https://HOST in QUANTPLAY_WEB_URL")
    return Connection(issuer=issuer, client=client, callback=f"{url}/callback", secret=secret_in(secret_file))


def secret_in(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        secret = path.read_bytes()[: LARGEST_SECRET + 1].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("QUANTPLAY_OIDC_SECRET_FILE can't be read", value=f"{path}: {type(error).__name__}") from None
    if not secret or len(secret) > LARGEST_SECRET or "\n" in secret:
        raise InputError("QUANTPLAY_OIDC_SECRET_FILE holds no secret", value=path, allowed="one line")
    return secret
