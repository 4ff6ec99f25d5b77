"""A product owner without a terminal: logs in with a real browser at a real OpenID provider, reads, signs, and the run is locked by it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import needs_browser, opened_browser, screenshot
from oidc_provider import CLIENT, SECRET, Provider, provider
from signers import Signer, made_signer

from benchmarks.playground import Playground
from quantplay.live.gateway.serve import listen

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, needs_browser]


@contextmanager
def pages(playground: Playground, port: int, environment: dict[str, str], log: Path) -> Iterator[str]:
    """`quantplay web`, as its operator starts it; what it logs is in `log`."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "quantplay.cli", "web", "--port", str(port)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=playground.environment(QUANTPLAY_WEB_URL=url, **environment)
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"registry: {url}\n", log.read_text()
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)
            if process.stdout is not None:
                process.stdout.close()


def log_in(page: Page, user: str) -> None:
    """On the provider's page."""
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(f"{user}'s password")
    page.get_by_role("button", name="Log in").click()


def approve(page: Page, url: str, run: str, comment: str, shots: Path) -> None:
    """From the list of what waits to the signature."""
    page.goto(f"{url}/sign")
    page.locator(f"a[href='/runs/{run}']").click()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        screenshot(page, f"web-to-sign-{width}", shots)
    page.get_by_label("Comment").fill(comment)
    page.get_by_role("button", name="Approve").click()
    text = page.locator("pre.statement").inner_text()
    assert f"run: {run}\n" in text
    assert f'comment: "{comment}"\n' in text
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        whole = page.evaluate("(one => one.scrollHeight <= one.clientHeight)(document.querySelector('pre.statement'))")
        assert whole, "nothing of what she signs is hidden"
        screenshot(page, f"web-confirm-{width}", shots)
    page.get_by_role("link", name="Sign at").click()
    log_in(page, "grace")
    page.get_by_role("status").get_by_text("Recorded: approve as product owner.").wait_for()


def owners_file(folder: Path, at: Provider, ada: Signer) -> Path:
    path = folder / "owners.yaml"
    path.write_text(
        f"schema: 1\n{at.owners_text()}people:\n  - name: Grace Hopper\n    roles: [product_owner]\n    logins:\n"
        f"      - issuer: {at.issuer}\n        subject: g-1906\n"
        f"  - name: {ada.name}\n    roles: [ml_engineer]\n    keys:\n      - {ada.public}\n"
    )
    return path


def test_she_logs_in_reads_and_signs_and_the_run_goes_on(playground: Playground, tmp_path: Path) -> None:
    ada = made_signer(tmp_path / "keys", "ada@example.com")
    plan = playground.plan("signed-on-pages", profile="production", envelope__target_chip="this machine")
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    place = listen("127.0.0.1", 0)
    port = place.getsockname()[1]
    place.close()
    with provider() as at:
        owners = owners_file(tmp_path, at, ada)
        told = {
            "QUANTPLAY_OWNERS": str(owners), "QUANTPLAY_OIDC_ISSUER": at.issuer, "QUANTPLAY_OIDC_CLIENT": CLIENT,
            "QUANTPLAY_OIDC_SECRET_FILE": str(secret),
        }  # fmt: skip

        def called(*arguments: object) -> tuple[int, dict[str, Any]]:
            done = playground.quantplay(*map(str, arguments), "--json", **told)
            assert done.stdout, done.stderr
            return done.returncode, json.loads(done.stdout)

        code, waiting = called("run", plan)
        assert (code, waiting["waits_at"]) == (10, "gate"), waiting
        run = waiting["run"]
        code, _ = called("sign", run[:8], "--role", "ml_engineer", "--approve", "--key", ada.key)
        assert code == 10
        log = tmp_path / "web.log"
        with pages(playground, port, told, log) as url, opened_browser() as page:
            said: list[str] = []
            page.on("console", lambda message: said.append(f"{message.text} {message.location}"))
            page.goto(f"{url}/sign")
            log_in(page, "grace")
            page.get_by_role("heading", name="Waiting for a signature").wait_for()
            assert page.url == f"{url}/sign"
            approve(page, url, run, "Fine for the desk.", tmp_path)
            code, at_lock = called("run", plan)
            assert (code, at_lock["run"], at_lock["waits_at"]) == (10, run, "lock")
            approve(page, url, run, "Ship it.", tmp_path)
            code, locked = called("run", plan)
            assert (code, locked["run"], locked["outcome"]) == (0, run, "locked")
            page.goto(f"{url}/runs/{run}")
            page.get_by_role("link", name="Package").click()
            assert page.get_by_text(f"log-in at {at.issuer} as g-1906").count() == 2
            screenshot(page, "web-signed-package", tmp_path)
            page.get_by_role("button", name="Log out").click()
            page.goto(f"{url}/sign")
            assert page.url.startswith(at.issuer)
            assert [one for one in said if url in one] == []  # the provider's own page is not ours
        known = playground.quantplay("verify", locked["package"]["path"], "--owners", str(owners))
        assert known.returncode == 0, known.stdout
        assert "gives to ada@example.com, Grace Hopper: identity" in " ".join(known.stdout.split())
        signoffs = json.loads((Path(locked["package"]["path"]) / "signatures" / "signoffs.json").read_text())[
            "signoffs"
        ]
        assert [one.get("login", {}).get("subject") for one in signoffs] == [None, "g-1906", "g-1906"]
        assert {one["login"]["issuer"] for one in signoffs[1:]} == {at.issuer}
        lines = [line for line in owners.read_text().splitlines(keepends=True) if at.key.thumbprint() not in line]
        owners.write_text("".join(lines).replace(CLIENT, f"{CLIENT}\n    keys: [{'x' * 43}]", 1))
        other = playground.quantplay("verify", locked["package"]["path"], "--owners", str(owners))
        assert other.returncode == 2  # who does not list the provider's key is not told that it was she
        for one in (SECRET, *at.secrets_seen):
            assert one not in log.read_text()
