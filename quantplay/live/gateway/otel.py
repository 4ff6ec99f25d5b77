"""OpenTelemetry's names for generative AI, in this one place: its conventions still move, our records do not."""

from __future__ import annotations

from typing import Any

from quantplay.records.traffic import RequestRow

ATTRIBUTES = {
    "id": "gen_ai.response.id",
    "endpoint": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "status": "http.response.status_code",
    "revision": "quantplay.revision",
    "assigned": "quantplay.arm.assigned",
    "served": "quantplay.arm.served",
}
"""Field of a request row -> attribute."""
TIME_TO_FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105 - a metric's name
TIME_PER_OUTPUT_TOKEN = "gen_ai.server.time_per_output_token"  # noqa: S105
TOKENS = "gen_ai.client.token.usage"


def attributes(row: RequestRow) -> dict[str, Any]:
    """A request row as a span's attributes."""
    found = {name: getattr(row, of) for of, name in ATTRIBUTES.items() if getattr(row, of) is not None}
    if row.finish is not None:
        found["gen_ai.response.finish_reasons"] = [row.finish]
    if row.status >= 400:
        found["error.type"] = str(row.status)
    return found


def prometheus_name(name: str, unit: str = "") -> str:
    """As OpenTelemetry's exporter for Prometheus writes a metric's name."""
    return "_".join(part for part in (name.replace(".", "_"), unit) if part)
