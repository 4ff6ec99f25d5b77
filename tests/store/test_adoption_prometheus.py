"""Volume from a Prometheus: a real one where it is installed, and one that answers from written samples for what takes days."""

from __future__ import annotations

import json
import math
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_server import MISSING, PROGRAM, prometheus_up

from quantplay.adoption import read_source
from quantplay.adoption.from_prometheus import REQUESTS, TOKENS, read_prometheus
from quantplay.errors import InputError, ServiceUnavailable
from quantplay.live.platform.prometheus import Prometheus

HOUR = 3600.0
DAY = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
Samples = dict[tuple[str, str, str], list[tuple[float, float]]]  # (metric, model, instance) -> (time, value)


class Answering(ThreadingHTTPServer):
    """Answers /api/v1/query with what lies in the asked window, or `says` where that is not empty; or serves `page` to be scraped."""

    daemon_threads = True

    def __init__(self, samples: Samples, says: bytes = b"", page: str = "") -> None:
        self.samples, self.says, self.page = samples, says, page
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.server.page.encode() if self.path == "/metrics" else self.server.says or self.matrix()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4" if self.path == "/metrics" else "application/json")
        self.end_headers()
        self.wfile.write(body)

    def matrix(self) -> bytes:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        name, _, window = query["query"][0].partition("[")
        end = float(query["time"][0])
        begin = end - float(window.removesuffix("s]"))
        result = [
            {
                "metric": {"__name__": name, "model_name": model, "job": "vllm", "instance": instance},
                "values": [[at, str(value)] for at, value in values if begin < at <= end],
            }
            for (metric, model, instance), values in self.server.samples.items() if metric == name
        ]  # fmt: skip
        return json.dumps({"status": "success", "data": {"result": [one for one in result if one["values"]]}}).encode()


@contextmanager
def answering(samples: Samples, says: bytes = b"", page: str = "") -> Iterator[str]:
    server = Answering(samples, says, page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_days_hold_what_rose_in_them_also_across_midnight_and_a_restart() -> None:
    def rising(per_hour: float, restarted_at: float = math.inf, begun: float = 0.0) -> list[tuple[float, float]]:
        times = [DAY + HOUR * n / 4 for n in range(4 * 60)]
        return [(at, per_hour * (at - max(DAY, restarted_at if at >= restarted_at else 0)) / HOUR + (begun if at < restarted_at else 0)) for at in times]  # fmt: skip

    samples: Samples = {
        (REQUESTS, "desk", "a"): rising(100, begun=5000),
        (REQUESTS, "desk", "b"): rising(10, restarted_at=DAY + 30 * HOUR),
        (TOKENS[0], "desk", "a"): rising(1000),
        (TOKENS[1], "desk", "a"): rising(500),
        (REQUESTS, "quiet", "a"): rising(0, begun=7),
    }
    now = datetime.fromtimestamp(DAY + 54 * HOUR, UTC)
    with answering(samples) as url:
        rows = read_prometheus(Prometheus(url=url), date(2026, 11, 19), now)
    # What rose between the last sample and the restart nobody saw.
    assert [(one.day.day, one.name, one.requests, one.tokens) for one in rows] == [
        (20, "desk", 2640, 36_000), (21, "desk", 2638, 36_000), (22, "desk", 660, 9000),
    ]  # fmt: skip


def test_what_is_no_prometheus_or_too_long_is_refused() -> None:
    now = datetime.fromtimestamp(DAY, UTC)
    with answering({}, says=b'{"hello": 1}') as url, pytest.raises(ServiceUnavailable, match="no Prometheus"):
        read_source(f"prometheus:{url}", None, now)
    with answering({}) as url:
        assert read_source(f"prometheus:{url}", None, now).told == ()
        with pytest.raises(InputError, match="so many days"):
            read_source(f"prometheus:{url}", date(2020, 1, 1), now)


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_a_real_prometheus_tells_what_a_server_counted(tmp_path: Path) -> None:
    def page(count: int) -> str:
        lines = [f"# TYPE {REQUESTS} counter", f'{REQUESTS}{{model_name="desk",finished_reason="stop"}} {count}']
        for name in TOKENS:
            lines += [f"# TYPE {name} counter", f'{name}{{model_name="desk"}} {10 * count}']
        return "\n".join(lines) + "\n"

    server = Answering({}, page=page(100))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    with prometheus_up(tmp_path, {"vllm": f"{host}/metrics"}) as url:
        time.sleep(2)
        server.page = page(142)
        deadline, rows = time.monotonic() + 30, ()
        while not rows and time.monotonic() < deadline:
            now = datetime.now(UTC)
            rows = read_prometheus(Prometheus(url=url), now.date(), now)
            time.sleep(0.5)
    server.shutdown()
    server.server_close()
    assert [(one.name, one.requests, one.tokens) for one in rows] == [("desk", 42, 840)]
