"""A policy as an HTTPRoute of Kubernetes' Gateway API, standard channel (gateway.networking.k8s.io/v1). Pure: the same policy, the same bytes.

A gateway decides by weight for each request; sessions are left out on purpose (docs/platform-gateway.md#what-is-different).
"""

from __future__ import annotations

from typing import Any

import yaml

from quantplay.errors import InputError
from quantplay.live.platform.mapping import ARMS, Mapping
from quantplay.records.traffic import ServedBy, TrafficPolicy

WEIGHTS = 1_000_000  # the most that a backend's weight may be, so a share is told to a millionth


def manifest(policy: TrafficPolicy, mapping: Mapping) -> str:
    """The HTTPRoute as YAML. Raises InputError as http_route does."""
    head = f"# Written by `quantplay platform-gateway`: who answers at {policy.endpoint}. Changes by hand are lost.\n"
    return head + yaml.safe_dump(http_route(policy, mapping), sort_keys=False, allow_unicode=True, width=120)


def http_route(policy: TrafficPolicy, mapping: Mapping) -> dict[str, Any]:
    """Both arms with their weights; everything that is not served by the policy goes to full precision.

    Raises InputError where a request as it comes can't be answered by both arms.
    """
    require_one_name(policy)
    place, parent = mapping.endpoints[policy.endpoint], mapping.gateway
    reference = {"name": parent.name, "namespace": parent.namespace, "sectionName": parent.listener}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": place.path}}],
        "timeouts": {"request": duration(policy.timeouts.total_seconds)},
        "backendRefs": [backend(policy, mapping, arm) for arm in ARMS],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": mapping.route_of(policy.endpoint),
            "namespace": mapping.namespace,
            "labels": {"app.kubernetes.io/managed-by": "quantplay"},
            "annotations": {
                "quantplay-endpoint": policy.endpoint,
                "quantplay-revision": str(policy.revision),
                "quantplay-version": str(policy.version),
                "quantplay-state": f"{policy.state}, kill switch" if policy.kill else policy.state,
            },
        },
        "spec": {
            "parentRefs": [{key: value for key, value in reference.items() if value is not None}],
            **({"hostnames": list(place.hostnames)} if place.hostnames else {}),
            "rules": [rule],
        },
    }


def backend(policy: TrafficPolicy, mapping: Mapping, arm: ServedBy) -> dict[str, Any]:
    """An arm with its weight. Its filter tells clients who answered, and makes Envoy Gateway count each arm apart."""
    place = mapping.endpoints[policy.endpoint].arm(arm)
    told = {
        "x-quantplay-endpoint": policy.endpoint,
        "x-quantplay-revision": str(policy.revision),
        "x-quantplay-assigned": arm,
    }
    headers = [{"name": name, "value": value} for name, value in told.items()]
    return {
        "name": place.service,
        "port": place.port,
        "weight": weights(policy.share)[arm],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": headers}}],
    }


def weights(share: float) -> dict[ServedBy, int]:
    """Integers that stand to each other as the shares do; a share above 0 is never lost."""
    quantized = max(round(share * WEIGHTS), 1 if share > 0 else 0)
    return {"full_precision": WEIGHTS - quantized, "quantized": quantized}


def duration(seconds: float) -> str:
    """As the API writes one (GEP-2257): `600s`, `1s500ms`."""
    whole, thousandths = divmod(max(1, round(seconds * 1000)), 1000)
    return (f"{whole}s" if whole else "") + (f"{thousandths}ms" if thousandths else "")


def require_one_name(policy: TrafficPolicy) -> None:
    full, small = policy.full_precision, policy.quantized
    if small is not None and small.model != full.model:
        raise InputError(
            f"the two arms of {policy.endpoint} list different models, and the platform's gateway passes requests on as they come",
            value=f"{full.model} and {small.model}", allowed="one name for both",
            fix="serve both under the name clients ask for (vLLM: --served-model-name, llama.cpp: --alias) and release again",
        )  # fmt: skip
