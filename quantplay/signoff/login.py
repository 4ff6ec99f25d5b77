"""A signature by log-in: the token that an OpenID provider signed for one person, whose nonce is the digest of the text.

Kept is the token together with the provider's public key. Whether that key is the provider's says the owners file, which lists its
thumbprint: so the signature is checked without a network, and nobody who can only write to the database can make one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from quantplay.digest import digest_of_bytes
from quantplay.errors import MissingDependency
from quantplay.records import Login
from quantplay.signoff.text import TIME, Statement, moment

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    from quantplay.signoff.owners import Owners, Person
    from quantplay.signoff.providers import Provider

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
LEAST_RSA_BITS = 2048
LARGEST = 16 << 10
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """A token that holds: what it says, and the key it verifies with."""

    login: Login
    nonce: str
    key: str  # thumbprint
    claims: Mapping[str, Any]  # all that it says


class NotVouched(Exception):
    """Why a token does not hold, as the end of a sentence that begins with `the signature`."""


def nonce_for(text: bytes) -> str:
    """What the token over this text carries."""
    return digest_of_bytes(text)


def bundle(token: str, key: Mapping[str, Any]) -> str:
    """A token and the public key that verifies it, as they are kept; one way to be written."""
    return json.dumps({"id_token": token, "key": dict(key)}, sort_keys=True, separators=(",", ":")) + "\n"


def is_bundle(signature: str) -> bool:
    return signature.startswith("{")


def vouched(signature: str, person: Person, owners: Owners, statement: Statement, text: bytes) -> Vouched:
    """The token in `signature` as a signature of `person` over `text`. Raises NotVouched."""
    token, key = parts_of(signature)
    provider_name = unverified_issuer(token)
    provider = next((one for one in owners.providers if one.issuer == provider_name), None)
    if provider is None:
        raise NotVouched(f"is by a log-in at {provider_name}, which is no provider of {owners.path}")
    found = token_of(provider, token, key)
    if key["thumbprint"] not in provider.keys:
        raise NotVouched(f"is by a key of {provider.issuer} that {owners.path} does not list: {key['thumbprint']}")
    if found.nonce != nonce_for(text):
        raise NotVouched("is over another text")
    if (found.login.issuer, found.login.subject) not in person.logins:
        raise NotVouched(
            f"is by another log-in than those that {owners.path} gives to {person.name}: {found.login.subject}"
        )
    issued, expires = moment(statement.issued_at), moment(statement.expires_at)
    if not issued - CLOCKS_APART <= moment(found.login.at) <= expires + CLOCKS_APART:
        raise NotVouched(f"was made by the provider at a time for which the text is not valid: {found.login.at}")
    proved = found.login.authenticated_at
    if proved is not None and moment(proved) < issued - CLOCKS_APART:
        raise NotVouched(f"rests on an earlier log-in, of {proved}; the provider has to ask again for each signature")
    return found


def token_of(provider: Provider, token: str, key: Mapping[str, Any]) -> Vouched:
    """What a token says that this provider signed with `key` for our client. Raises NotVouched."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        claims = jwt.decode(token, key["key"], algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError, TypeError) as error:
        raise NotVouched(f"does not verify with the provider's key: {type(error).__name__}") from None
    if claims.get("iss") != provider.issuer:
        raise NotVouched(f"is by another provider than {provider.issuer}")
    audience = claims.get("aud")
    meant = [audience] if isinstance(audience, str) else audience
    if not isinstance(meant, list) or provider.client not in meant:
        raise NotVouched("is by a log-in at another service")
    if (len(meant) > 1 or "azp" in claims) and claims.get("azp") != provider.client:
        raise NotVouched("is by a log-in at another service")
    subject, nonce = claims.get("sub"), claims.get("nonce")
    if not isinstance(subject, str) or not subject or not isinstance(nonce, str):
        raise NotVouched("names no person, or no text")
    proved = claims.get("auth_time")
    login = Login(
        issuer=provider.issuer, client=provider.client, subject=subject, at=written(claims.get("iat")),
        authenticated_at=written(proved) if proved is not None else None,
    )  # fmt: skip
    return Vouched(login=login, nonce=nonce, key=key["thumbprint"], claims=claims)


def written(seconds: object) -> str:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 1 << 33:
        raise NotVouched("says no time at which it was made")
    return datetime.fromtimestamp(int(seconds), UTC).strftime(TIME)


def parts_of(signature: str) -> tuple[str, Mapping[str, Any]]:
    """(token, its key with its thumbprint) of what `bundle` wrote."""
    odd = NotVouched("is no token with its key, as quantplay keeps them")
    if len(signature) > LARGEST or not signature.isascii():
        raise odd
    try:
        told = json.loads(signature)
        token, key = told["id_token"], told["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise odd from None
    if not isinstance(token, str) or not isinstance(key, dict) or bundle(token, key) != signature:
        raise odd
    return token, {"key": (made := public_key(key)), "thumbprint": made.thumbprint()}


def public_key(key: Mapping[str, Any]) -> RSAKey | ECKey | OKPKey:
    """A key that may verify tokens. Raises NotVouched."""
    require_joserfc()
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

    if key.get("kty") not in ("RSA", "EC", "OKP"):  # a shared secret could be known to whoever made the record
        raise NotVouched("is with a kind of key that is not accepted")
    if "d" in key:
        raise NotVouched("came with a private key")
    if key["kty"] == "RSA" and len(str(key.get("n"))) * 6 < LEAST_RSA_BITS:
        raise NotVouched(f"is with a key shorter than {LEAST_RSA_BITS} bits")
    try:
        made = import_key({name: value for name, value in key.items() if isinstance(value, str)})
    except (JoseError, ValueError, TypeError, KeyError):
        raise NotVouched("is with a key that can't be read") from None
    assert isinstance(made, RSAKey | ECKey | OKPKey)
    return made


def unverified_issuer(token: str) -> str:
    """Who the token says it is from, to find the provider; nothing is trusted for it."""
    from joserfc.errors import JoseError
    from joserfc.jws import extract_compact

    try:
        claims = json.loads(extract_compact(token.encode()).payload)
        issuer = claims["iss"]
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise NotVouched("is no token of an OpenID provider") from None
    if not isinstance(issuer, str):
        raise NotVouched("is no token of an OpenID provider")
    return issuer


def require_joserfc() -> None:
    """Raises MissingDependency with the command that installs what checks log-ins."""
    try:
        import joserfc  # noqa: F401
    except ImportError:
        raise MissingDependency(
            "signatures by log-in can't be checked: joserfc is not installed", fix="pip install 'quantplay[web]'"
        ) from None
