"""Both interfaces of the Prefect server in a real browser: they work, and nothing leaves for another host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from browser import CHROMIUM, SIZE, needs_browser, screenshot

from benchmarks.deployed_platform import DeployedPlatform

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route

pytestmark = [pytest.mark.slow, needs_browser]
ANALYTICS = "amplitude.com"
PAGES = {
    "v2": {
        "/v2/dashboard": "Dashboard",
        "/v2/deployments": "quantize-form",
        "/v2/work-pools": "gpu",
        "/v2/automations": "a run whose node is gone",
        "/v2/runs/flow-run/{run}": "Task Runs",
    },
    "v1": {
        "/deployments": "quantize-form",
        "/work-pools": "gpu",
        "/automations": "a run whose node is gone",
        "/runs/flow-run/{run}": "Task Runs",
    },
}


@dataclass
class Watched:
    """A page and what it tried."""

    page: Page
    hosts: set[str] = field(default_factory=set)  # of every request on a network
    errors: list[str] = field(default_factory=list)  # exceptions no script caught
    refused: list[str] = field(default_factory=list)  # what the browser refused because of the policy


@contextmanager
def watched(*, bypass_csp: bool) -> Iterator[Watched]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_context(viewport=SIZE, bypass_csp=bypass_csp).new_page()  # type: ignore[arg-type]
            seen = Watched(page)

            def asked(route: Route, request: Request) -> None:
                address = urlsplit(request.url)
                if address.netloc:
                    seen.hosts.add(address.netloc)
                if address.hostname in (None, "127.0.0.1"):
                    route.continue_()
                else:
                    route.abort()

            page.route("**/*", asked)
            page.on("pageerror", lambda error: seen.errors.append(str(error)))
            page.on(
                "console",
                lambda said: seen.refused.append(said.text) if "Content Security Policy" in said.text else None,
            )
            yield seen
        finally:
            browser.close()


@pytest.fixture(scope="module")
def finished_run(platform: DeployedPlatform) -> UUID:
    run = platform.wait(platform.start("sign-off-reminders/hourly"))
    assert run.state is not None
    assert run.state.is_completed(), run.state
    return run.id


@pytest.mark.parametrize("interface", PAGES)
def test_an_interface_works_and_asks_no_other_host(
    interface: str, platform: DeployedPlatform, finished_run: UUID, tmp_path: Path
) -> None:
    with watched(bypass_csp=False) as seen:
        for number, (path, text) in enumerate(PAGES[interface].items()):
            seen.page.goto(platform.page + path.format(run=finished_run))
            seen.page.get_by_text(text).first.wait_for()
            seen.page.wait_for_timeout(800)  # charts are drawn when the data is there
            screenshot(seen.page, f"prefect-{interface}-{number}", tmp_path)
        assert seen.hosts == {urlsplit(platform.page).netloc}
        assert seen.errors == []
        assert [text for text in seen.refused if ANALYTICS not in text] == [], "the policy breaks the interface"


def test_without_the_policy_the_new_interface_would_ask_an_analytics_host(platform: DeployedPlatform) -> None:
    with watched(bypass_csp=True) as seen:
        seen.page.goto(f"{platform.page}/v2/dashboard")
        seen.page.get_by_text("Dashboard").first.wait_for()
        seen.page.wait_for_timeout(3000)
        assert any(host.endswith(ANALYTICS) for host in seen.hosts), seen.hosts


def test_the_server_itself_sends_no_analytics(platform: DeployedPlatform) -> None:
    import httpx

    said = httpx.get(f"{platform.api_url}/admin/settings").json()
    assert said["server"]["analytics_enabled"] is False


def test_a_page_of_another_origin_can_not_use_the_server(platform: DeployedPlatform) -> None:
    """Whoever opens a web page while the server runs on the same machine must not start runs with it."""
    import httpx

    page = {"origin": "https://elsewhere.example.com", "access-control-request-method": "POST"}
    asked = httpx.options(f"{platform.api_url}/flow_runs/filter", headers=page)
    read = httpx.post(f"{platform.api_url}/flow_runs/filter", headers=page, json={})
    assert read.status_code == 200
    assert "access-control-allow-origin" not in {**asked.headers, **read.headers}


def test_a_site_whose_name_points_here_gets_nothing(platform: DeployedPlatform) -> None:
    """DNS rebinding: to the browser such a page comes from this server, so only the name it asks for tells it apart."""
    import httpx

    answers = {
        host: httpx.get(f"{platform.api_url}/health", headers={"host": host}).status_code
        for host in ("elsewhere.example.com:4200", "127.0.0.1.example.com", "localhost:4200", "10.42.0.7:4200")
    }
    assert list(answers.values()) == [400, 400, 200, 200], answers
