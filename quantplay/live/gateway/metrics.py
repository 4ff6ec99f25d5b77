"""Prometheus text of what this process counted. Few series: no revision, no client, a bucket a doubling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quantplay.live.gateway import otel
from quantplay.live.gateway.arms import ArmChecks
from quantplay.live.gateway.elsewhere import Elsewhere
from quantplay.live.gateway.table import Table
from quantplay.live.gateway.telemetry import Telemetry
from quantplay.live.speed import BUCKETS_A_DOUBLING
from quantplay.records.traffic import ServedBy

HISTOGRAMS = {"ttft": otel.TIME_TO_FIRST_TOKEN, "decode": otel.TIME_PER_OUTPUT_TOKEN}


def label(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def sample(name: str, labels: Mapping[str, object], value: float) -> str:
    inside = ",".join(f"{key}={label(text)}" for key, text in labels.items())
    number = str(int(value)) if value == int(value) else repr(value)
    return f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"


def family(name: str, kind: str, text: str, samples: Iterable[str]) -> list[str]:
    found = list(samples)
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *found] if found else []


def metrics_text(telemetry: Telemetry, table: Table, checks: ArmChecks, elsewhere: Elsewhere, running: int) -> str:
    totals = telemetry.counters.totals
    events = [
        sample("quantplay_events_total", {"endpoint": endpoint, "assigned": arm, "event": name}, count)
        for (endpoint, arm, name), count in sorted(totals.items())
        if ":" not in name
    ]
    served = [
        sample("quantplay_requests_total", {"endpoint": endpoint, "served": arm, "status": status}, count)
        for (endpoint, arm, status), count in sorted(telemetry.served.items())
    ]
    lines = family("quantplay_requests_total", "counter", "Requests by the arm that answered.", served)
    lines += family("quantplay_events_total", "counter", "What the judge counts, by the arm that was assigned.", events)
    for short, long in HISTOGRAMS.items():
        lines += histogram(otel.prometheus_name(long, "seconds"), short, totals)
    policies = sorted(table.policies.items())
    for name, text, values in (
        ("weight", "Share of conversations assigned to the quantized model.", [(n, p.share) for n, p in policies]),
        ("revision", "Revision in force.", [(n, p.revision) for n, p in policies]),
        ("policy_version", "Version of the policy in force.", [(n, p.version) for n, p in policies]),
    ):
        lines += family(
            f"quantplay_{name}", "gauge", text, [sample(f"quantplay_{name}", {"endpoint": n}, v) for n, v in values]
        )
    ready = []
    for name, policy in policies:
        for arm, served in (("quantized", policy.quantized), ("full_precision", policy.full_precision)):
            if served is not None:
                up = checks.of(served).fault is None
                ready.append(sample("quantplay_arm_up", {"endpoint": name, "arm": arm}, up))
    lines += family("quantplay_arm_up", "gauge", "1 where the arm's server serves what it should.", ready)
    confirmed = -1.0 if table.confirmed_at is None else table.clock() - table.confirmed_at
    for name, kind, text, value in (
        ("requests_running", "gauge", "Requests at this moment.", running),
        ("policies_age_seconds", "gauge", "Since the last confirmed read of the policies; -1: never.", confirmed),
        ("policies_stale", "gauge", "1 where only full precision answers because of that age.", table.stale),
        ("counters_waiting", "gauge", "Counter rows the sink has not confirmed.", len(telemetry.counters.waiting)),
        ("request_rows_dropped_total", "counter", "Request rows dropped under load.", telemetry.queue.dropped),
        ("feedback_waiting", "gauge", "Feedback on other gateways' answers, on its way.", len(elsewhere.waiting)),
        ("feedback_passed_on_total", "counter", "Feedback passed on to other gateways.", elsewhere.passed_on),
        ("feedback_taken_total", "counter", "Feedback counted here that reached other gateways.", elsewhere.taken),
        (
            "feedback_unmatched_total",
            "counter",
            "Feedback given up here: for a day no gateway knew its answer.",
            elsewhere.unmatched,
        ),
        ("feedback_dropped_total", "counter", "Feedback dropped because too much waited.", elsewhere.dropped),
    ):
        lines += family(f"quantplay_{name}", kind, text, [sample(f"quantplay_{name}", {}, value)])
    return "\n".join(lines) + "\n"


def histogram(name: str, short: str, totals: Mapping[tuple[str, ServedBy, str], int]) -> list[str]:
    series: dict[tuple[str, str], dict[int, int]] = {}
    for (endpoint, arm, counted), count in totals.items():
        kind, _, bucket = counted.partition(":")
        if kind == short and bucket:
            doubling = -(-int(bucket) // BUCKETS_A_DOUBLING)
            found = series.setdefault((endpoint, arm), {})
            found[doubling] = found.get(doubling, 0) + count
    samples = []
    for (endpoint, arm), found in sorted(series.items()):
        labels = {"endpoint": endpoint, "assigned": arm}
        # Every doubling between the ends, so that rates of one series can be summed with those of another.
        for doubling in range(-4, 20):
            below = sum(count for at, count in found.items() if at <= doubling)
            samples.append(sample(f"{name}_bucket", {**labels, "le": f"{2.0**doubling / 1000:g}"}, below))
        everything = sum(found.values())
        total = sum(count * 2.0**at / 1000 * 0.75 for at, count in found.items())  # the middle of each doubling
        samples.append(sample(f"{name}_bucket", {**labels, "le": "+Inf"}, everything))
        samples += [sample(f"{name}_sum", labels, total), sample(f"{name}_count", labels, everything)]
    return family(name, "histogram", "From log buckets, a doubling each; the sum from their middles.", samples)
