"""A signature by log-in: what the provider's token has to say, and every token that does not count."""

from __future__ import annotations

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from oidc_provider import CLIENT, Provider, made_key
from signers import made_statement

from quantplay.errors import InputError
from quantplay.records import SignOff
from quantplay.signoff import Owners, Statement, read_owners_text, record_of, render, verified
from quantplay.signoff.login import bundle, nonce_for
from quantplay.signoff.proof import Proof, proof_of

ISSUER, SUBJECT = "https://login.example.com", "g-1906"
STATEMENT = made_statement("product_owner", "Grace Hopper")
TEXT = render(STATEMENT)
PEOPLE = """people:
  - name: Grace Hopper
    roles: [product_owner]
    logins:
      - issuer: https://login.example.com
        subject: g-1906
"""


@pytest.fixture(scope="module")
def at() -> Provider:
    return Provider(issuer=ISSUER)


@pytest.fixture(scope="module")
def owners(at: Provider) -> Owners:
    return owners_of(at.owners_text() + PEOPLE)


def owners_of(text: str) -> Owners:
    return read_owners_text(f"schema: 1\n{text}".encode(), "owners.yaml")


def signature(at: Provider, **claims: Any) -> str:
    return bundle(at.token(**{"sub": SUBJECT, "nonce": nonce_for(TEXT), **claims}), at.public)


def proof(signed: str, owners: Owners, statement: Statement = STATEMENT) -> Proof | str:
    person = owners.person("Grace Hopper")
    assert person is not None
    return proof_of(statement, render(statement), signed, person, owners)


def test_a_token_over_the_text_is_a_signature(at: Provider, owners: Owners) -> None:
    found = proof(signature(at), owners)
    assert isinstance(found, Proof)
    assert found.key == at.key.thumbprint()
    assert found.login is not None
    assert (found.login.issuer, found.login.subject, found.login.client) == (ISSUER, SUBJECT, CLIENT)


@pytest.mark.parametrize("kind", ["EC", "Ed25519"])
def test_other_kinds_of_keys_sign_too(owners: Owners, kind: str) -> None:
    key: Any = ECKey.generate_key("P-256") if kind == "EC" else OKPKey.generate_key("Ed25519")
    told = {"iss": ISSUER, "aud": CLIENT, "sub": SUBJECT, "nonce": nonce_for(TEXT), "iat": int(time.time())}
    algorithm = "ES256" if kind == "EC" else "Ed25519"
    token = jwt.encode({"alg": algorithm}, told, key, algorithms=[algorithm])
    listed = owners_of(
        f"providers:\n  - issuer: {ISSUER}\n    client: {CLIENT}\n    keys: ['{key.thumbprint()}']\n{PEOPLE}"
    )
    assert isinstance(proof(bundle(token, key.as_dict(private=False)), listed), Proof)
    assert "does not list" in str(proof(bundle(token, key.as_dict(private=False)), owners))


LONG_AGO = int(time.time()) - 3600


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "no provider of owners.yaml"), ({"iss": None}, "no token"),
        ({"aud": "another"}, "another service"), ({"aud": []}, "another service"), ({"aud": None}, "another service"),
        ({"aud": [CLIENT, "another"]}, "another service"), ({"azp": "another"}, "another service"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "another service"),
        ({"nonce": "0" * 64}, "another text"), ({"nonce": None}, "no text"), ({"nonce": nonce_for(TEXT).upper()}, "another text"),
        ({"sub": "a-1815"}, "another log-in"), ({"sub": ""}, "no person"), ({"sub": 1}, "no person"), ({"sub": SUBJECT.upper()}, "another log-in"),
        ({"iat": LONG_AGO}, "not valid"), ({"iat": "now"}, "no time"), ({"iat": None}, "no time"), ({"iat": True}, "no time"),
        ({"iat": LONG_AGO + 86400 * 60}, "not valid"), ({"auth_time": LONG_AGO}, "earlier log-in"), ({"auth_time": -1}, "no time"),
    ],
)  # fmt: skip
def test_a_token_that_says_something_else_does_not_count(
    at: Provider, owners: Owners, claims: dict[str, Any], why: str
) -> None:
    found = proof(signature(at, **claims), owners)
    assert isinstance(found, str)
    assert why in found


def test_one_of_several_audiences_with_us_as_the_authorised_one(at: Provider, owners: Owners) -> None:
    assert isinstance(proof(signature(at, aud=[CLIENT, "another"], azp=CLIENT), owners), Proof)


def test_only_the_listed_keys_of_the_provider_count(at: Provider, owners: Owners) -> None:
    stranger = Provider(issuer=ISSUER)
    assert "does not list" in str(proof(signature(stranger), owners))
    told = json.loads(signature(stranger))
    assert "does not verify" in str(proof(bundle(told["id_token"], at.public), owners))  # another key beside it
    token = json.loads(signature(at))["id_token"]
    assert "private key" in str(proof(bundle(token, dict(at.key.as_dict(private=True))), owners))


def test_a_token_without_a_signature_of_the_provider_does_not_count(at: Provider, owners: Owners) -> None:
    told = {"iss": ISSUER, "aud": CLIENT, "sub": SUBJECT, "nonce": nonce_for(TEXT), "iat": int(time.time())}
    assert "does not verify" in str(proof(bundle(by_hand("none", told), at.public), owners))
    shared = by_hand("HS256", told, at.key.as_pem(private=False))  # the public key as if it were a shared secret
    assert "does not verify" in str(proof(bundle(shared, at.public), owners))
    secret = OctKey.generate_key(256)
    known = jwt.encode({"alg": "HS256"}, told, secret, algorithms=["HS256"])
    assert "not accepted" in str(proof(bundle(known, secret.as_dict()), owners))
    head, body, _ = at.token(**told).split(".")
    for token in (f"{head}.{body}.", f"{head}.{body}", "x", "", f"{head}.{body}.AAAA"):
        assert isinstance(proof(bundle(token, at.public), owners), str)


def by_hand(algorithm: str, claims: dict[str, Any], secret: bytes | None = None) -> str:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": algorithm}, claims)
    )
    code = hmac.digest(secret, head + b"." + body, "sha256") if secret else b""
    return b".".join([head, body, base64.urlsafe_b64encode(code).rstrip(b"=")]).decode()


def test_short_keys_do_not_count() -> None:
    with pytest.warns(Warning, match="2048"):
        short = RSAKey.generate_key(1024)
    told = {"iss": ISSUER, "aud": CLIENT, "sub": SUBJECT, "nonce": nonce_for(TEXT), "iat": int(time.time())}
    signed = bundle(jwt.encode({"alg": "RS256"}, told, short), short.as_dict(private=False))
    listed = owners_of(
        f"providers:\n  - issuer: {ISSUER}\n    client: {CLIENT}\n    keys: ['{short.thumbprint()}']\n{PEOPLE}"
    )
    assert "shorter than 2048" in str(proof(signed, listed))


def test_a_bundle_has_one_way_to_be_written(at: Provider, owners: Owners) -> None:
    good = signature(at)
    told = json.loads(good)
    for odd in (
        good[:-1],
        good + "\n",
        json.dumps(told),
        "{}",
        "{",
        '{"id_token": 1, "key": {}}\n',
        "{" * 20_000,
        good.replace("RSA", "\u0421SA"),
    ):
        assert isinstance(proof(odd, owners), str)


def test_a_recorded_one_holds_until_the_owners_file_says_otherwise(at: Provider, owners: Owners) -> None:
    record = recorded(at, owners)
    assert SignOff.model_validate_json(json.dumps(record.body())) == record
    assert verified([record], owners) == ((record,), ())
    without_key = owners_of(Provider(issuer=ISSUER).owners_text() + PEOPLE)
    other_person = owners_of(at.owners_text() + PEOPLE.replace("g-1906", "g-1907"))
    for changed in (without_key, other_person):
        assert verified([record], changed)[0] == ()
    assert record.login is not None
    for field, value in {
        "login": record.login.model_copy(update={"subject": "a-1815"}),
        "key": made_key().thumbprint(),
        "person": "Ada",
    }.items():
        assert verified([record.model_copy(update={field: value})], owners)[0] == (), field
    assert verified([record.model_copy(update={"login": None})], owners)[0] == ()  # as if by an SSH key


def recorded(at: Provider, owners: Owners) -> SignOff:
    found = proof(signature(at), owners)
    assert isinstance(found, Proof)
    return record_of(
        STATEMENT, text=TEXT, signature=signature(at), key=found.key, owners=owners,
        now=datetime.now(UTC) + timedelta(seconds=1), login=found.login,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("issuer: https://login.example.com\n    client", "issuer: http://login.example.com\n    client", "is no OpenID provider"),
        ("issuer: https://login.example.com\n    client", "issuer: https://user@login.example.com\n    client", "is no OpenID provider"),
        ("subject: g-1906", "subject: 1906", "a number in quotes"), ("subject: g-1906", "sub: g-1906", "did you mean `subject`?"),
        ("client: quantplay", "client: ''", "is no text"), ("keys: [", "keys: [short, ", "is no thumbprint of a key"),
        ("      - issuer: https://login.example.com\n", "      - issuer: https://other.example.com\n", "is not among `providers`"),
        ("    logins:\n", "    login:\n", "did you mean `logins`?"),
    ],
)  # fmt: skip
def test_log_ins_in_the_owners_file_are_read_strictly(at: Provider, old: str, new: str, why: str) -> None:
    text = at.owners_text() + PEOPLE
    assert old in text
    with pytest.raises(InputError) as caught:
        owners_of(text.replace(old, new))
    assert why in "\n".join(map(str, caught.value.faults))


def test_a_log_in_belongs_to_one_person(at: Provider) -> None:
    second = PEOPLE.replace("people:\n", "").replace("Grace Hopper", "Ada")
    with pytest.raises(InputError) as caught:
        owners_of(at.owners_text() + PEOPLE + second)
    assert "this is also the log-in of Grace Hopper; the first is in line" in str(caught.value.faults[0])
