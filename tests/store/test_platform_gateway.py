"""The platform's own gateway, real: Envoy splits by the HTTPRoute, Prometheus scrapes it, the same judge takes a bad model back."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy_proxy import Envoy, cluster_name, envoy_up, new_envoy
from prometheus_server import MISSING, PROGRAM, prometheus_up

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.live.gateway.database import DatabaseOthers, DatabaseSink, DatabaseSource
from quantplay.live.platform.envoy import EnvoyGateway
from quantplay.live.platform.follow import Following
from quantplay.live.platform.gateway_api import http_route
from quantplay.live.platform.mapping import Mapping
from quantplay.live.platform.outputs import FolderOutput
from quantplay.live.platform.prometheus import Prometheus
from quantplay.live.release import release
from quantplay.live.tick import look
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import PolicyRevision, ServedArm, TrafficPolicy
from quantplay.store.registry import Store

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
ARMS = ("full_precision", "quantized")
MAPPING = Mapping.model_validate({
    "gateway": {"name": "inference"}, "namespace": "models", "settle_seconds": 2,
    "endpoints": {"chat": {"full_precision": {"service": "f16", "port": 1}, "quantized": {"service": "q4", "port": 1}}},
})  # fmt: skip


class ModelServer(ThreadingHTTPServer):
    """One arm. It answers `fails` of every ten requests with 500."""

    daemon_threads = True

    def __init__(self) -> None:
        self.fails, self.asked, self.failed = 0, 0, 0
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked += 1
        bad = self.server.asked % 10 < self.server.fails
        self.server.failed += bad
        self.send_response(500 if bad else 200)
        self.send_header("content-length", "0")
        self.end_headers()


@dataclass(kw_only=True)
class Applied:
    """The manifests' folder, and what a cluster's controller makes of each at once."""

    folder: FolderOutput
    envoy: Envoy

    def put(self, name: str, text: str) -> str:
        told = self.folder.put(name, text)
        self.envoy.go_by(yaml.safe_load((self.folder.folder / f"{name}.yaml").read_text(encoding="utf-8")))
        return told


@dataclass(kw_only=True)
class Platform:
    store: Store
    envoy: Envoy
    arms: dict[str, ModelServer]
    folder: Path
    clusters: dict[str, int]
    said: list[str] = field(default_factory=list)

    def ask(self, number: int) -> Counter[str]:
        """Arms that Envoy says it chose."""
        found: Counter[str] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.envoy.port, timeout=10)
        for _ in range(number):
            connection.request("GET", "/v1/models")
            answer = connection.getresponse()
            answer.read()
            found[answer.getheader("x-quantplay-assigned") or "?"] += 1
        connection.close()
        return found

    def totals(self) -> dict[tuple[str, str], int]:
        return dict(self.store.live_totals("chat", 1))

    def weight(self, arm: str) -> int:
        """In the manifest that was written last."""
        (rule,) = yaml.safe_load((self.folder / "chat.yaml").read_text(encoding="utf-8"))["spec"]["rules"]
        return rule["backendRefs"][ARMS.index(arm)]["weight"]

    def until(self, holds: Callable[[], bool]) -> None:
        ends = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < ends, f"it did not happen: {self.totals()}, {self.said}"
            time.sleep(0.2)

    def still(self) -> None:
        """Until everything so far was scraped, read and written."""
        time.sleep(4)


def canary(store: Store) -> TrafficPolicy:
    arms = {
        name: ServedArm(url=f"http://{host}:1/v1", model="chat", artifact=digit * 64)
        for name, host, digit in (("full_precision", "f16", "a"), ("quantized", "q4", "b"))
    }
    told = PolicyRevision(endpoint="chat", package="c" * 64, salt="s", steps=(0.5, 1.0), rules=RollbackRules(), **arms)
    release(store, told, weight=0.5, actor="tester", reason="a test")
    (policy,) = store.traffic_policies("chat")
    return policy


@contextmanager
def following(platform: Platform, prometheus: str) -> Iterator[None]:
    """`quantplay platform-gateway` in a thread, with this cluster's controller behind its folder."""
    output = Applied(folder=FolderOutput(folder=platform.folder), envoy=platform.envoy)
    gateway = EnvoyGateway(mapping=MAPPING, output=output, prometheus=Prometheus(url=prometheus))
    work = Following(
        gateway=gateway, source=DatabaseSource(open=lambda: platform.store), sink=DatabaseSink(open=lambda: platform.store),
        beat=DatabaseOthers(open=lambda: platform.store).beat,
        settle_seconds=MAPPING.settle_seconds, tell=platform.said.append,
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    task = loop.create_task(work.run(1))

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


@pytest.fixture
def platform(store: Store, tmp_path: Path) -> Iterator[Platform]:
    envoy, policy = new_envoy(tmp_path), canary(store)
    arms = {name: ModelServer() for name in ARMS}
    meta = http_route(policy, MAPPING)["metadata"]
    clusters = {cluster_name(meta, place): arms[name].server_address[1] for place, name in enumerate(ARMS)}
    envoy.go_by(http_route(policy.model_copy(update={"weight": 0.0}), MAPPING))
    yield Platform(store=store, envoy=envoy, arms=arms, folder=tmp_path / "routes", clusters=clusters)
    for arm in arms.values():
        arm.shutdown()
        arm.server_close()


def marked(platform: Platform) -> tuple[dict[str, tuple[int, int]], dict[tuple[str, str], int]]:
    """What the arms counted themselves, and the store's totals, at one quiet time."""
    return {arm: (server.asked, server.failed) for arm, server in platform.arms.items()}, platform.totals()


def sums(
    platform: Platform, mark: tuple[dict[str, tuple[int, int]], dict[tuple[str, str], int]]
) -> dict[tuple[str, str], int]:
    """The totals of then, and what the arms themselves counted since."""
    before, found = mark[0], dict(mark[1])
    for arm, server in platform.arms.items():
        asked, failed = server.asked - before[arm][0], server.failed - before[arm][1]
        for name, count in (("conversations", asked), ("requests", asked), ("error", failed)):
            if count:
                found[arm, name] = found.get((arm, name), 0) + count
    return found


@pytest.mark.slow
def test_envoy_splits_prometheus_counts_and_the_judge_takes_a_bad_model_back(
    platform: Platform, tmp_path: Path
) -> None:
    small = platform.arms["quantized"]
    with prometheus_up(tmp_path, {"envoy": platform.envoy.metrics}) as url, following(platform, url):
        with envoy_up(platform.envoy, platform.clusters):
            platform.until(lambda: any("50.00%" in one for one in platform.said))
            platform.ask(50)
            platform.still()
            mark = marked(platform)
            chosen = platform.ask(1000)
            assert chosen == {arm: server.asked - mark[0][arm][0] for arm, server in platform.arms.items()}
            assert abs(chosen["quantized"] - 500) < 80  # five standard deviations
            platform.until(lambda: platform.totals() == sums(platform, mark))
            platform.still()
        with envoy_up(platform.envoy, platform.clusters):  # killed and back: its counters begin anew, ours go on
            small.fails = 1
            platform.still()
            platform.ask(100)
            platform.until(lambda: platform.totals() == sums(platform, mark))
            assert platform.totals()["quantized", "error"] == small.failed > 0
            small.fails = 5
            for _ in range(30):
                platform.ask(200)
                time.sleep(1.1)
                seen = look(platform.store, "chat")
                if seen is None or seen.verdict.action == "rollback":
                    break
            assert seen is not None
            assert seen.verdict.cause in ("floor", "worse")
            platform.until(lambda: platform.weight("quantized") == 0)
            time.sleep(0.5)  # until Envoy has looked
            asked = small.asked
            assert platform.ask(300) == {"full_precision": 300}
            assert small.asked == asked
    assert [one.kind for one in platform.store.list_incidents(open_only=True)] == ["live rollback"]


@pytest.mark.slow
def test_what_only_model_servers_and_the_team_know_comes_along(tmp_path: Path) -> None:
    """Time to first token as vLLM exposes it, and thumbs of the team's own program."""
    buckets = {"1.0": 0, "2.5": 0, "5.0": 0, "+Inf": 0}
    text = ""

    def told(slow: int, quick: int, thumbs: int) -> str:
        counts = dict(zip(buckets, (quick, quick, quick, quick + slow), strict=True))
        lines = [
            f'vllm:time_to_first_token_seconds_bucket{{arm="q4",le="{le}"}} {count}' for le, count in counts.items()
        ]
        lines.append(f'feedback_total{{arm="q4",kind="down"}} {thumbs}')
        lines.append('envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/models/chat/rule/0/backend/0"} 0')
        lines.append('envoy_cluster_upstream_rq_completed{envoy_cluster_name="own/q4"} ' + str(quick + slow))
        return "\n".join(lines) + "\n"

    class Exporter(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

    text = told(3, 10, 5)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = {
        "service": "q4", "port": 1, "cluster": "own/q4", "counts": {"thumbs_down": 'feedback_total{kind="down",arm="q4"}'},
        "first_token": 'vllm:time_to_first_token_seconds_bucket{arm="q4"}',
    }  # fmt: skip
    body = MAPPING.body()
    body["endpoints"]["chat"]["quantized"] = own
    policy = TrafficPolicy.model_validate({
        "endpoint": "chat", "revision": 1, "version": 1, "state": "canary", "weight": 0.5, "salt": "s",
        "full_precision": {"url": "http://h:1/v1", "model": "chat", "artifact": "a" * 64},
        "quantized": {"url": "http://h:2/v1", "model": "chat", "artifact": "b" * 64},
    })  # fmt: skip
    with prometheus_up(tmp_path, {"servers": f"127.0.0.1:{server.server_address[1]}/metrics"}) as url:
        gateway = EnvoyGateway(
            mapping=Mapping.model_validate(body),
            output=FolderOutput(folder=tmp_path / "routes"),
            prometheus=Prometheus(url=url),
        )
        time.sleep(3)
        assert gateway.counters(policy) == {}  # here counting begins
        text = told(5, 40, 9)
        risen: Counter[Any] = Counter()
        for _ in range(15):
            time.sleep(1)
            risen.update(gateway.counters(policy))
        # An answer is slow above the histogram's edge at or above the policy's 3 s: 5 s. Its quick ones began within 1 s.
        assert risen == {
            ("quantized", "conversations"): 32, ("quantized", "requests"): 32, ("quantized", "slow_first_token"): 2,
            ("quantized", "ttft:80"): 30, ("quantized", "thumbs_down"): 4,
        }  # fmt: skip
        wrong = Mapping.model_validate(
            body
            | {
                "endpoints": {
                    "chat": body["endpoints"]["chat"] | {"quantized": own | {"first_token": "feedback_total"}}
                }
            }
        )
        with pytest.raises(InputError, match="no histogram"):
            EnvoyGateway(mapping=wrong, output=gateway.output, prometheus=Prometheus(url=url)).counters(policy)
    server.shutdown()
    server.server_close()
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        gateway.counters(policy)
