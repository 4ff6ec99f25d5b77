"""A real Chromium for tests: opened headless, watched for what the page complains about, with screenshots worth looking at.

Screenshots go to the folder named by QUANTPLAY_SCREENSHOTS, or to the folder a test gives.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium or Chrome on PATH")
SIZE = {"width": 1280, "height": 900}
PATIENCE_MS = 90_000


@contextmanager
def opened_browser() -> Iterator[Page]:
    """One page of a fresh browser; elements are waited for, at most PATIENCE_MS."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


def screenshot(page: Page, name: str, folder: Path, *, whole: bool = True) -> Path:
    """Save what the page shows as NAME.png; `whole`: with what one would scroll to."""
    target = Path(os.environ.get("QUANTPLAY_SCREENSHOTS") or folder) / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target, full_page=whole)
    return target
