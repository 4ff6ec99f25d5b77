"""The page on adoption beside the registry's other pages: a look that serves for a minute, in their frame and style."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import needs_browser, opened_browser, screenshot
from locked_models import lock_model
from test_adoption_store import CASE, count, serve
from web_server import served

from quantplay.store.registry import Store
from quantplay.web.adoption import KEPT_SECONDS, Looks
from quantplay.web.app import Site


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Site:
    return Site(open=lambda: store, owners=tmp_path / "owners.yaml", reports=tmp_path / "reports")


def test_a_look_serves_for_a_minute(store: Store) -> None:
    now = [100.0]
    looks = Looks(clock=lambda: now[0])
    revision = serve(store, "support", lock_model(store, "desk"))
    count(store, "support", revision, 0, quantized=75, full=25)
    assert "of 100 requests" in looks.newest(lambda: store)
    count(store, "support", revision, 0, quantized=100, source=2)
    now[0] += KEPT_SECONDS - 1
    assert "of 100 requests" in looks.newest(lambda: store)
    now[0] += 1
    assert "of 200 requests" in looks.newest(lambda: store)


def test_a_database_that_is_away_is_said_and_not_kept(store: Store) -> None:
    def away() -> Store:
        raise ConnectionError

    looks = Looks()
    with pytest.raises(ConnectionError):
        looks.newest(away)
    assert "Nothing was run here" in looks.newest(lambda: store)


@needs_browser
def test_it_is_in_the_menu_and_leads_to_packages(site: Site, store: Store, tmp_path: Path) -> None:
    desk = lock_model(store, "desk", plan={"business_case": CASE})
    count(store, "support", serve(store, "support", desk), 0, quantized=1_234_567, full=300_000, tokens=98_765_432)
    with served(site) as url, opened_browser() as browser:
        said: list[str] = []
        browser.on("console", lambda message: said.append(message.text))
        for width in (1280, 390):
            browser.set_viewport_size({"width": width, "height": 900})
            browser.goto(url)
            browser.get_by_role("link", name="Adoption").click()
            assert "80.5" in browser.locator("h1").inner_text()
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            screenshot(browser, f"web-adoption-{width}", tmp_path)
        browser.locator("#savings").get_by_role("link").click()
        assert browser.url == f"{url}/packages/{desk}"
        assert said == []
