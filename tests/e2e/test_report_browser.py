"""The report in a real browser: nothing sticks out, on a phone and on a desk, with few slices and with many."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from factories import made_run, made_slices

from quantplay.handoff.report import render_report

pytestmark = pytest.mark.slow
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
MEASURE = """<!doctype html><body style="margin:0"><script>
const widths = %s, found = {};
function measure(width) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.style.cssText = `border:0;width:${width}px;height:900px`;
    frame.onload = () => {
      const page = frame.contentDocument, root = page.documentElement;
      const sticking = [...page.querySelectorAll("body *")].filter(one =>
        one.getBoundingClientRect().right > width + 1 && !one.closest(".scroll, pre, details:not([open]), svg"));
      found[width] = {page: root.scrollWidth, sticking: sticking.map(one => one.className || one.tagName).slice(0, 5),
                      rows: page.querySelectorAll(".gate-row").length};
      done();
    };
    frame.src = "report.html";
    document.body.append(frame);
  });
}
Promise.all(widths.map(measure)).then(() => { document.body.textContent = "found" + JSON.stringify(found) + "end"; });
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium or Chrome on PATH")
@pytest.mark.parametrize("slices", [3, 30])
def test_nothing_sticks_out(slices: int, tmp_path: Path) -> None:
    results = made_run("close", items=300, slices=made_slices(slices))
    assert results.decision is not None
    (tmp_path / "report.html").write_text(render_report(results), encoding="utf-8")
    (tmp_path / "measure.html").write_text(MEASURE % "[390, 1280]")
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000",
         "--dump-dom", (tmp_path / "measure.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    answer = re.search(r"found(\{.*\})end", done.stdout)
    assert answer, done.stdout[-500:]
    for width, found in json.loads(answer[1]).items():
        assert found["page"] <= int(width), found
        assert found["sticking"] == [], found
        assert found["rows"] == len(results.decision.slices), "every gated quantity is on the page"
