"""A re-validation as Markdown: status, what changed, what moved."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.handoff.markdown import MARKS, table
from quantplay.handoff.templating import md
from quantplay.handoff.words import compact, slice_title
from quantplay.plan import Plan
from quantplay.plays.standing import Standing
from quantplay.records import Revalidation

STANDING_MARKS = {"confirmed": "✓ confirmed", "stale": "! stale", "regressed": "✕ regressed"}


def revalidation_markdown(found: Revalidation, plan: Plan) -> str:
    """One package, whole."""
    parts = [
        f"**{STANDING_MARKS[found.status]}**, {md(plan.name)}, package `{found.package[:12]}`, {md(found.trigger)}, {found.at}",
        "\n".join(f"- {md(reason)}" for reason in found.reasons),
    ]
    if found.changes:
        rows = [(md(one.what), md(one.before), md(one.now)) for one in found.changes]
        parts.append(table(("Changed in the stack", "Then", "Today"), rows))
    if found.measured is not None:
        parts.append(
            f"{found.items:,} items: {found.lost} lost, {found.won} won, {found.responses_changed:,} worded differently. "
            f"The plan's gate against full precision: {MARKS[found.against_baseline] if found.against_baseline else 'not applied'}."
        )
    if found.slices:
        rows = [
            (
                md(slice_title(plan, one)),
                str(one.items), f"{one.lost} / {one.won}" if one.metric == "score" else "",
                f"{one.drop:+.3g} {one.unit}", f"{one.max_drop:g} {one.unit}", MARKS[one.verdict],
            )
            for one in found.slices
        ]  # fmt: skip
        head = ("Against what was locked", "Items", "Lost / won", "Drop", "Allowed", "Verdict")
        parts.append(table(head, rows, numbers=(1, 2, 3, 4)))
    parts += figures(found)
    if found.alarms:
        parts.append(
            "To look at, though it decides nothing alone:\n\n" + "\n".join(f"- {md(one.text)}" for one in found.alarms)
        )
    return "\n\n".join(parts) + "\n"


def figures(found: Revalidation) -> list[str]:
    """Divergence, speed and memory, then and today."""
    if found.divergence_now is None or found.performance_now is None:
        return []
    a, b, old, new = found.divergence_then, found.divergence_now, found.performance_then, found.performance_now
    mib = 1 << 20
    rows = [
        ("Mean KL divergence from full precision, nats", a.mean_kl_nats, b.mean_kl_nats),
        ("Perplexity", a.perplexity_candidate, b.perplexity_candidate),
        ("Perplexity of full precision", a.perplexity_reference, b.perplexity_reference),
        ("Time per token, median, ms", old.time_per_token_ms.p50, new.time_per_token_ms.p50),
        ("Time to first token, p95, ms", old.time_to_first_token_ms.p95, new.time_to_first_token_ms.p95),
        ("Key-value cache, MiB", old.cache_bytes / mib, new.cache_bytes / mib),
        ("Peak memory, MiB", old.peak_bytes / mib, new.peak_bytes / mib),
    ]
    cells = [(name, compact(then, 4), compact(today, 4)) for name, then, today in rows]
    return [table(("Measured", "When locked", "Today"), cells, numbers=(1, 2))]


def standings_markdown(found: Sequence[Standing]) -> str:
    """All packages in one table."""
    if not found:
        return "No package is locked yet.\n"
    rows = [(f"`{one.package[:12]}`", md(one.name), STANDING_MARKS[one.status], one.at, md(one.why)) for one in found]
    return table(("Package", "Plan", "Status", "Since", "Why"), rows) + "\n"
