"""Logging in at a real OpenID provider and signing there: what is recorded, and everything that is refused."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from oidc_provider import CLIENT, SECRET, Provider, made_key, provider
from signers import made_signer
from test_store_signoffs import opened, waits

from quantplay.errors import InputError
from quantplay.signoff import ssh
from quantplay.store.registry import Store
from quantplay.web.app import Site, app_of
from quantplay.web.login import LogIn, path_of
from quantplay.web.provider import connection
from quantplay.web.sessions import COOKIE, IDLE_SECONDS, LONGEST_SECONDS, Sessions

URL = "https://registry.example.com"
STATEMENT = re.compile(r'<pre class="statement">(.*?)</pre>', re.S)


@pytest.fixture(scope="module")
def at() -> Iterator[Provider]:
    with provider() as made:
        yield made


@dataclass
class Clock:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Desk:
    """The pages with log-in, and a run that waits."""

    store: Store
    site: Site
    at: Provider
    clock: Clock
    run: str
    browser: httpx.AsyncClient

    def ask(self, method: str, address: str, **more: object) -> httpx.Response:
        return asyncio.run(self.browser.request(method, address, **more))  # type: ignore[arg-type]

    def get(self, address: str) -> httpx.Response:
        return self.ask("GET", address)

    def log_in(self, user: str = "grace", start: str = "/login?next=/sign") -> httpx.Response:
        """As a browser follows: ours, theirs, ours again. The last answer of ours."""
        return self.get(self.at_provider(self.get(start).headers["location"], user))

    def at_provider(self, address: str, user: str) -> str:
        """What the provider sends the browser back to."""
        assert address.startswith(self.at.issuer)
        given = {"user": user, "password": f"{user}'s password"}
        with httpx.Client() as client:
            assert client.get(address).status_code == 200
            answer = client.post(address, data=given)
        return answer.headers["location"].removeprefix(URL)

    def page(self) -> str:
        answer = self.get(f"/runs/{self.run}")
        assert answer.status_code == 200, answer.text
        return answer.text

    def form(self, text: str, **instead: str) -> dict[str, str]:
        found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
        return {**found, "verdict": "approve", "comment": "Fine for the desk.", **instead}

    def chosen(self, **instead: str) -> httpx.Response:
        return self.ask("POST", f"/runs/{self.run}/sign", data=self.form(self.page(), **instead))

    def to_sign(self, **instead: str) -> tuple[str, str]:
        """(text that is shown, address at the provider)."""
        answer = self.chosen(**instead)
        assert answer.status_code == 303, answer.text
        shown = self.get(answer.headers["location"]).text
        found, address = STATEMENT.search(shown), re.search(rf'href="({self.at.issuer}[^"]*)"', shown)
        assert found is not None
        assert address is not None
        return found[1].replace("&#34;", '"').replace("&#39;", "'"), address[1].replace("&amp;", "&")


@pytest.fixture
def desk(store: Store, at: Provider, tmp_path: Path) -> Desk:
    at.instead.clear()
    ada = made_signer(tmp_path / "keys", "ada@example.com")
    owners = tmp_path / "owners.yaml"
    owners.write_text(
        f"schema: 1\n{at.owners_text()}people:\n  - name: Grace Hopper\n    roles: [product_owner]\n    logins:\n"
        f"      - issuer: {at.issuer}\n        subject: g-1906\n  - name: {ada.name}\n    roles: [ml_engineer]\n    keys:\n      - {ada.public}\n"
    )
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    clock = Clock()
    login = LogIn(at=connection(at.issuer, CLIENT, secret, URL), sessions=Sessions(clock=clock))
    site = Site(open=lambda: store, owners=owners, reports=tmp_path / "reports", login=login)
    transport = httpx.ASGITransport(app=app_of(site, ["registry.example.com"]))  # type: ignore[arg-type]
    run = opened(store, "waiting")
    waits(store, run)
    return Desk(
        store=store, site=site, at=at, clock=clock, run=str(run), browser=httpx.AsyncClient(transport=transport, base_url=URL)
    )  # fmt: skip


def signoffs(desk: Desk) -> int:
    return len(desk.store.signoffs_of(desk.run))


def test_a_product_owner_signs_and_the_record_says_how_she_was_identified(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = desk.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign")
    assert "Grace" in desk.get("/sign").text
    text, address = desk.to_sign()
    assert "person: Grace Hopper\n" in text
    assert f"run: {desk.run}\n" in text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert (asked["prompt"], asked["scope"]) == ("login", "openid")  # she proves again who she is, and no more is told
    answer = desk.get(desk.at_provider(address, "grace"))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{desk.run}")
    (record,) = desk.store.signoffs_of(desk.run)
    assert (record.person, record.role, record.verdict, record.comment) == (
        "Grace Hopper", "product_owner", "approve", "Fine for the desk.",
    )  # fmt: skip
    assert record.text == text
    assert record.login is not None
    assert (record.login.issuer, record.login.subject) == (desk.at.issuer, "g-1906")
    (event,) = desk.store.events(kind="signoff.recorded")
    assert event.body["login"]["subject"] == "g-1906"
    assert desk.store.verify_events() == ()
    shown = desk.page()
    assert "Recorded: approve as product owner. Others still have to sign." in shown
    assert f"log-in at {desk.at.issuer} as g-1906" in shown
    assert "Recorded:" not in desk.page()  # said once
    for secret in (SECRET, *desk.at.secrets_seen):
        told = {one.name for one in caplog.records if secret in one.getMessage()}
        assert told <= {"httpx", "httpcore.http11"}  # which are the browser of this test; ours is httpx2


def test_without_a_log_in_nothing_is_read(desk: Desk) -> None:
    for address in ("/", "/sign", f"/runs/{desk.run}", "/incidents", "/packages/x", "/nowhere/../sign"):
        answer = desk.get(address)
        assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True), address
    assert desk.get("/healthz").text == "ok\n"
    answer = desk.ask(
        "POST", f"/runs/{desk.run}/sign", data={"verdict": "approve", "role": "product_owner", "csrf": ""}
    )
    assert answer.status_code == 403
    assert signoffs(desk) == 0


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(desk: Desk) -> None:
    answer = desk.get("/login")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-quantplay=")
    for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert word in cookie
    before = desk.browser.cookies[COOKIE]
    desk.log_in()
    assert desk.browser.cookies[COOKIE] != before  # whoever knew it before knows nothing now
    text = desk.page()
    assert desk.ask("POST", "/logout", data=desk.form(text)).headers["location"] == "/bye"
    assert desk.get("/sign").headers["location"].startswith("/login")


@pytest.mark.parametrize(
    "odd",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/a\nb", "", "x", "/" * 2000, "/%09/evil\t"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_a_log_in(odd: str) -> None:
    assert path_of(odd) == "/"
    assert path_of("/runs/a?b=c") == "/runs/a?b=c"


def test_a_log_in_leads_back_to_pages_of_ours_only(desk: Desk) -> None:
    assert desk.log_in(start="/login?next=https%3A%2F%2Fevil.example").headers["location"] == "/"


def test_sessions_end(desk: Desk) -> None:
    desk.log_in()
    desk.clock.seconds += IDLE_SECONDS - 1
    assert desk.get("/sign").status_code == 200
    desk.clock.seconds += IDLE_SECONDS + 1
    assert desk.get("/sign").status_code == 303
    desk.log_in()
    for _ in range(LONGEST_SECONDS // (IDLE_SECONDS - 1) + 1):
        desk.clock.seconds += IDLE_SECONDS - 1
        last = desk.get("/sign").status_code
    assert last == 303  # also of somebody who never rests


def test_a_form_of_another_site_does_nothing(desk: Desk) -> None:
    desk.log_in()
    text = desk.page()
    for instead in ({"csrf": "x"}, {"csrf": ""}, {"csrf": "é"}):
        answer = desk.ask("POST", f"/runs/{desk.run}/sign", data=desk.form(text, **instead))
        assert answer.status_code == 403, instead
    answer = desk.ask(
        "POST", f"/runs/{desk.run}/sign", data=desk.form(text), headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert desk.ask("POST", f"/runs/{desk.run}/sign", content=b"a" * 70_000).status_code >= 400
    assert desk.ask("POST", f"/runs/{desk.run}/sign", content=b"\xff\xfe").status_code in (400, 403)
    assert signoffs(desk) == 0


def test_an_answer_counts_once_and_for_the_browser_that_asked(desk: Desk) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    back = desk.at_provider(address, "grace")
    mine = dict(desk.browser.cookies)
    desk.browser.cookies.clear()
    assert "not begun here" in desk.get(back).text  # another browser
    desk.log_in("ada")
    assert "not begun here" in desk.get(back).text  # somebody else's
    desk.browser.cookies.clear()
    desk.browser.cookies.set(COOKIE, mine[COOKIE], domain="registry.example.com")
    assert desk.get(back).status_code == 303
    assert desk.get(back).status_code == 400
    assert signoffs(desk) == 1


def test_who_answers_too_late_signs_nothing(desk: Desk) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    back = desk.at_provider(address, "grace")
    desk.clock.seconds += 1000
    assert "took too long" in desk.get(back).text
    assert signoffs(desk) == 0


def test_only_the_person_who_is_logged_in_signs(desk: Desk) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    answer = desk.get(desk.at_provider(address, "ada"))
    assert "somebody else" in answer.text
    assert signoffs(desk) == 0


def test_a_refusal_at_the_provider_signs_nothing(desk: Desk) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    state = parse_qs(urlsplit(address).query)["state"][0]
    assert "Nothing was signed" in desk.get(f"/callback?error=access_denied&state={state}").text
    _, address = desk.to_sign()
    state = parse_qs(urlsplit(address).query)["state"][0]
    assert "was not handed out" in desk.get(f"/callback?code=made-up&state={state}").text
    _, address = desk.to_sign()
    assert "Another provider" in desk.get(desk.at_provider(address, "grace") + "&iss=https://evil.example").text
    assert signoffs(desk) == 0


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        ({"nonce": "0" * 64}, "another text"), ({"aud": "another"}, "another service"), ({"exp": 1}, "expired"),
        ({"auth_time": int(time.time()) - 4000}, "earlier log-in"), ({"iss": "https://evil.example"}, "another provider"),
    ],
)  # fmt: skip
def test_a_token_that_says_something_else_signs_nothing(desk: Desk, instead: dict[str, object], why: str) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    desk.at.instead = dict(instead)
    answer = desk.get(desk.at_provider(address, "grace"))
    assert why in answer.text
    assert signoffs(desk) == 0


def test_a_new_key_of_the_provider_has_to_be_in_the_owners_file(desk: Desk) -> None:
    desk.log_in()
    _, address = desk.to_sign()
    before, desk.at.key = desk.at.key, made_key()
    try:
        answer = desk.get(desk.at_provider(address, "grace"))
        assert f"does not list: {desk.at.key.thumbprint()}" in answer.text
        assert signoffs(desk) == 0
    finally:
        desk.at.key = before


def test_who_is_not_in_the_owners_file_reads_and_is_told_what_is_missing(desk: Desk) -> None:
    desk.log_in("ada")
    text = desk.page()
    assert "You can read, not sign" in text
    assert "subject: &#34;a-1815&#34;" in text
    assert "<textarea" not in text
    csrf = desk.form(text)["csrf"]
    answer = desk.ask(
        "POST", f"/runs/{desk.run}/sign", data={"csrf": csrf, "role": "ml_engineer", "verdict": "approve"}
    )
    assert answer.status_code == 409  # what it is about was not said
    assert signoffs(desk) == 0


@pytest.mark.parametrize(
    ("instead", "status"),
    [
        ({"role": "ml_engineer"}, 403), ({"role": ""}, 403), ({"verdict": "yes"}, 400), ({"about": "gate"}, 409),
        ({"comment": "\u202e" * 3}, 400), ({"comment": "a" * 2001}, 400),
    ],
)  # fmt: skip
def test_what_can_not_be_signed_is_refused(desk: Desk, instead: dict[str, str], status: int) -> None:
    desk.log_in()
    answer = desk.chosen(**instead)
    assert answer.status_code == status, answer.text
    assert signoffs(desk) == 0


def test_the_last_signature_has_the_run_go_on(desk: Desk) -> None:
    from quantplay.handoff.signing import record_signature, statement_for
    from quantplay.signoff import read_owners, render

    owners = read_owners(desk.site.owners)
    waiting = desk.store.all_waiting()[0].waits
    said = render(statement_for(waiting, "ml_engineer", "approve", "ada@example.com"))
    key = desk.site.owners.parent / "keys" / "ada"
    record_signature(desk.store, waiting, owners, said, ssh.sign(said, key))
    desk.log_in()
    _, address = desk.to_sign()
    desk.get(desk.at_provider(address, "grace"))
    shown = desk.page()
    assert f"The run goes on with `quantplay run {waiting.plan_path}`" in shown
    assert "<textarea" not in shown
    assert "SSH key SHA256:" in shown


def test_a_provider_that_is_away_is_told_as_such(desk: Desk) -> None:
    assert desk.site.login is not None
    away = connection("http://127.0.0.1:9", CLIENT, None, URL)
    site = replace(desk.site, login=LogIn(at=away))
    transport = httpx.ASGITransport(app=app_of(site, ["registry.example.com"]), raise_app_exceptions=False)  # type: ignore[arg-type]
    answer = asyncio.run(httpx.AsyncClient(transport=transport, base_url=URL).get("/login"))
    assert answer.status_code == 503
    assert "provider" in answer.text


@pytest.mark.parametrize(
    ("issuer", "url", "why"),
    [
        ("http://login.example.com", URL, "no OpenID provider"), ("https://login.example.com", None, "QUANTPLAY_WEB_URL"),
        ("https://login.example.com", "http://registry.example.com", "TLS"), ("login", URL, "no OpenID provider"),
    ],
)  # fmt: skip
def test_what_can_not_be_safe_is_refused_at_the_start(issuer: str, url: str | None, why: str) -> None:
    with pytest.raises(InputError, match=why):
        connection(issuer, CLIENT, None, url)


def test_the_secret_is_in_no_text_of_ours(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    assert SECRET not in repr(connection("https://login.example.com", CLIENT, tmp_path / "secret", URL))
    with pytest.raises(InputError, match="can't be read"):
        connection("https://login.example.com", CLIENT, tmp_path / "none", URL)
