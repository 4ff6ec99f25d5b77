"""What the dashboards ask of Prometheus is what a gateway's /metrics really has: names, labels, and the values that are filtered by."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway_parts import gateway_up
from grafana_queries import FOLDER, Asked, boards, promql_of, queries
from prometheus_server import MISSING, PROGRAM, prometheus_up

PROMQL = queries("prometheus")
ASKED = Asked(start=0, end=3600, variables={"endpoint": "chat"})
SELECTED = re.compile(r"\b([a-z_]+)(?:\{([^}]*)\})")
NAME = re.compile(r"\b((?:quantplay|gen_ai)_[a-z_]+)\b")
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? \S+$", re.MULTILINE)
OF_PROMETHEUS = {"instance", "job", "le"}


def exposed(text: str) -> dict[str, set[str]]:
    """Metric -> its labels."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, labels in SAMPLE.findall(text):
        found[name] |= set(re.findall(r"(\w+)=\"", labels))
    return found


def metrics_of_a_gateway(folder: Path) -> str:
    async def asked() -> str:
        async with gateway_up(folder, weight=1.0) as bench:
            answer = await bench.post()
            disliked = {"id": answer.json["id"], "signal": "thumbs_down"}
            async with bench.session.post(bench.url + "/feedback", json=disliked) as taken:
                assert taken.status < 300
            await bench.post(stream=True)
            async with bench.session.get(bench.url.removesuffix("/v1") + "/metrics") as answer:
                return await answer.text()

    return asyncio.run(asked())


def test_every_metric_and_label_that_is_asked_for_is_exposed(tmp_path: Path) -> None:
    found = exposed(metrics_of_a_gateway(tmp_path))
    assert len(PROMQL) >= 10
    for query in PROMQL:
        text = promql_of(query.text, ASKED)
        names = NAME.findall(text)
        assert names, query.name
        assert [name for name in names if name not in found] == [], query.name
        wanted = {label for group in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
        wanted |= {label for _, inside in SELECTED.findall(text) for label in re.findall(r"(\w+)[=!]", inside)}
        wanted |= {label for name in names for label in found[name] & {"endpoint"}}
        known = OF_PROMETHEUS.union(*(found[name] for name in names))
        assert wanted <= known, query.name
        if any("endpoint" in found[name] for name in names):
            assert 'endpoint="chat"' in text, f"{query.name} mixes endpoints"


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_a_real_prometheus_answers_every_query_from_a_gateways_metrics(tmp_path: Path) -> None:
    text = metrics_of_a_gateway(tmp_path)

    class Exporter(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with prometheus_up(tmp_path, {"gateway": f"127.0.0.1:{server.server_address[1]}/metrics"}) as url:
            time.sleep(2.5)  # two scrapes: rates need them
            for query in PROMQL:
                asked = urllib.parse.urlencode({"query": promql_of(query.text, ASKED)})
                with urllib.request.urlopen(f"{url}/api/v1/query?{asked}", timeout=10) as answer:
                    found = json.loads(answer.read())
                assert found["status"] == "success", query.name
                assert found["data"]["result"], f"{query.name} shows nothing"
        server.shutdown()


def test_every_label_of_a_legend_is_left_by_its_query() -> None:
    for board in boards().values():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "expr" in target and (kept := re.search(r"by \(([^)]*)\)", target["expr"])):
                    left = set(re.split(r",\s*", kept[1])) - {"le"}
                    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == left, panel["title"]


def test_dashboards_use_the_sources_that_are_provisioned_and_no_panel_twice() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/quantplay.yaml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    there = {(one["type"], one["uid"]) for one in sources}
    for name, board in boards().items():
        panels = board["panels"]
        used = {(one["type"], one["uid"]) for panel in panels for one in [panel.get("datasource")] if one}
        used |= {
            (each["datasource"]["type"], each["datasource"]["uid"])
            for panel in panels
            for each in panel.get("targets", ())
        }
        assert used <= there, name
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken = [panel["gridPos"] for panel in panels]
        for at, one in enumerate(taken):
            assert one["x"] + one["w"] <= 24
            for other in taken[:at]:
                apart = (
                    one["x"] >= other["x"] + other["w"] or other["x"] >= one["x"] + one["w"]
                    or one["y"] >= other["y"] + other["h"] or other["y"] >= one["y"] + one["h"]
                )  # fmt: skip
                assert apart, f"{name}: two panels share a place"


def test_every_panel_is_explained() -> None:
    page = (FOLDER.parents[1] / "docs" / "dashboards.md").read_text(encoding="utf-8")
    for board in boards().values():
        assert f"## {board['title']}" in page
        titles = [panel["title"].partition(":")[0] for panel in board["panels"] if panel["type"] != "row"]
        assert [title for title in titles if f"**{title}" not in page] == []
