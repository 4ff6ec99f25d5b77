"""The one adapter: the split as an HTTPRoute, the counts from what Envoy tells Prometheus.

Of an arm's cluster, as Envoy counts it: requests that were answered or given up (`upstream_rq_completed`), and those that ended with
5xx, Envoy's own 503 and 504 among them. https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.live.platform.gateway_api import manifest
from quantplay.live.platform.mapping import ARMS, Mapping
from quantplay.live.platform.outputs import Output
from quantplay.live.platform.ports import Rise
from quantplay.live.platform.prometheus import Prometheus
from quantplay.live.platform.rises import Rises, Series
from quantplay.live.speed import bucket_of
from quantplay.records.traffic import ServedBy, TrafficPolicy

FIRST_SECONDS = 300.0  # how far back the first look goes, to learn where counters stand
LONGEST_SECONDS = 3600.0  # and any other
AGAIN_SECONDS = 120.0  # that are read once more: a sample's time is when its scrape began


@dataclass(kw_only=True)
class EnvoyGateway:
    """A Gateway of Gateway API that Envoy implements, scraped by Prometheus."""

    mapping: Mapping
    output: Output
    prometheus: Prometheus | None
    clock: Callable[[], float] = time.time
    rises: dict[str, Rises] = field(default_factory=dict)
    read_until: dict[str, float] = field(default_factory=dict)

    def serves(self, endpoint: str) -> bool:
        return endpoint in self.mapping.endpoints

    def write(self, policy: TrafficPolicy) -> str:
        went = self.output.put(self.mapping.route_of(policy.endpoint), manifest(policy, self.mapping))
        return f"{policy.share:.2%} of the requests at {policy.endpoint} to the quantized model, {went}"

    def counters(self, policy: TrafficPolicy) -> Rise:
        if self.prometheus is None:
            return {}
        endpoint, now = policy.endpoint, self.clock()
        before = self.read_until.get(endpoint)
        start = now - FIRST_SECONDS if before is None else max(before - AGAIN_SECONDS, now - LONGEST_SECONDS)
        alive = self.alive(endpoint, start, now)
        # All of it is read before any of it counts: an answer that is missing must not leave half a look.
        found: dict[tuple[ServedBy, str], list[Series]] = {
            (arm, name): self.prometheus.series(selector, start, now)
            for arm in ARMS
            for name, selector in self.selectors(endpoint, arm).items()
        }
        rises = self.rises.setdefault(endpoint, Rises())
        rises.meet([*alive, *(series for one in found.values() for series in one)])
        risen: dict[tuple[ServedBy, str], int] = {}
        for (arm, name), series in found.items():
            if name == "first_token":
                counts = first_tokens(series, rises, policy.timeouts.slow_first_token_seconds)
            else:
                counts = {name: round(sum(rises.take(one) for one in series))}
            for counted, count in counts.items():
                if count:
                    risen[arm, counted] = count
        self.read_until[endpoint] = now
        if before is None:
            return {}
        for arm in ARMS:  # Envoy knows no conversations: each request is one
            if (arm, "conversations") in risen:
                risen[arm, "requests"] = risen[arm, "conversations"]
        return risen

    def alive(self, endpoint: str, start: float, now: float) -> list[Series]:
        """Requests begun at full precision, which every Envoy that has the route tells, also of none. Raises ServiceUnavailable where it is silent."""
        assert self.prometheus is not None
        found = self.prometheus.series(
            f"envoy_cluster_upstream_rq_total{{{self.label(endpoint, ARMS[0])}}}", start, now
        )
        if not any(at > now - AGAIN_SECONDS for series in found for at, _ in series.samples):
            raise ServiceUnavailable(
                "Prometheus scraped no Envoy that has this route lately", value=self.cluster(endpoint, ARMS[0]),
                fix="look at the route's status, and at Prometheus' targets; name the mapping's `cluster` where it is called otherwise",
            )  # fmt: skip
        return found

    def selectors(self, endpoint: str, arm: ServedBy) -> dict[str, str]:
        """Counter -> its series in Prometheus."""
        place = self.mapping.endpoints[endpoint].arm(arm)
        label = self.label(endpoint, arm)
        found = {
            "conversations": f"envoy_cluster_upstream_rq_completed{{{label}}}",
            "error": f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{label}}}',
            **place.counts,
        }
        return found | ({"first_token": place.first_token} if place.first_token else {})

    def cluster(self, endpoint: str, arm: ServedBy) -> str:
        """What Envoy calls an arm's cluster."""
        route = f"{self.mapping.namespace}/{self.mapping.route_of(endpoint)}"
        return (
            self.mapping.endpoints[endpoint].arm(arm).cluster or f"httproute/{route}/rule/0/backend/{ARMS.index(arm)}"
        )

    def label(self, endpoint: str, arm: ServedBy) -> str:
        name = self.cluster(endpoint, arm).replace("\\", "\\\\").replace('"', '\\"')
        return f'envoy_cluster_name="{name}"'


def first_tokens(found: list[Series], rises: Rises, slow_seconds: float) -> dict[str, int]:
    """Answers that began late, and how long answers took to begin, from a histogram's cumulative buckets.

    What counts as slow is the histogram's next edge at or above `slow_seconds`, one for both arms that have the same edges.
    """
    below: dict[float, float] = {}
    for series in found:
        try:
            edge = float(series.label("le") or "")
        except ValueError:
            raise InputError(
                "this is no histogram's series",
                value=str(dict(series.labels).get("__name__")),
                allowed="NAME_bucket, with its label le",
            ) from None
        below[edge] = below.get(edge, 0) + rises.take(series)
    edges = sorted(below)
    if not edges:
        return {}
    limit = next((edge for edge in edges if edge >= slow_seconds), edges[-1])
    counts = {"slow_first_token": round(below[edges[-1]] - below[limit])}
    lower = 0.0
    for edge in edges:
        if edge != float("inf") and edge > 0 and (count := round(below[edge] - lower)) > 0:
            counts[f"ttft:{bucket_of(edge * 1000)}"] = count
        lower = below[edge]
    return counts
