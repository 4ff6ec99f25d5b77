"""Plays 5 and 6 as Markdown: what a scan found, what a mix keeps high, how a training went."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.handoff import words
from quantplay.handoff.markdown import table
from quantplay.handoff.templating import md
from quantplay.quantizers.layer_types import FULL
from quantplay.records import MixChoice, Recommendation, Sensitivity, Training

PLAN_AGAIN = "A changed plan is a new plan, and its looks at the same items stay listed beside these: a fresh gate split is the honest choice."
SHOWN = 40  # groups in a table: the worst ones


def sensitivity_markdown(found: Sensitivity) -> str:
    """Groups by damage as the type with the fewest bits, the worst first."""
    groups = {group.group: group for group in found.groups}
    rows = []
    for name in found.ranking(found.low)[:SHOWN]:
        group = groups[name]
        low, high = group.of(found.low), next(one for one in group.types if one.kind != FULL)
        gain = "" if group.restored_gain_nats is None else words.compact(group.restored_gain_nats)
        rows.append((
            md(name), f"{group.weights:,}", words.compact(low.mean_kl_nats),
            f"{words.compact(low.low_nats)} to {words.compact(low.high_nats)}", words.compact(high.mean_kl_nats), gain, low.how,
        ))  # fmt: skip
    head = (
        "Group",
        "Weights",
        f"Alone as {found.low}, nats",
        "95 % interval",
        f"Alone as {found.high}",
        "Restored alone",
        "How",
    )
    rest = len(found.groups) - len(rows)
    parts = [
        f"{found.exact_groups} of {len(found.groups)} groups measured over {found.sequences} texts of {found.tokens} tokens, at "
        f"{words.number(found.full_scan_block_forward_tokens / max(1, found.block_forward_tokens), 1)} times less work than one full pass "
        f"a group and type. All groups as {found.base}: {words.compact(found.base_kl_nats)} nats.",
        table(head, rows, numbers=(1, 2, 3, 4, 5)),
    ]
    if rest > 0:
        parts.append(f"{rest} groups that suffer less are left out here.")
    return "\n\n".join(parts) + "\n"


def mix_markdown(choice: MixChoice) -> str:
    """The mixes that were made and measured, the smallest divergence first, and what the chosen one gives each group."""
    rows = [
        (
            f"**{md(one.name)}**" if one.name == choice.name else md(one.name), one.origin, words.size(one.size_bytes),
            "" if one.predicted_nats is None else words.compact(one.predicted_nats), words.compact(one.mean_kl_nats),
            words.compact(one.mean_kl_se),
        )
        for one in sorted(choice.measured, key=lambda one: (one.mean_kl_nats, one.name))
    ]  # fmt: skip
    head = ("Mix", "Kind", "File", "Predicted, nats", "Measured, nats", "Standard error")
    parts = [
        f"Budget {words.size(choice.budget_bytes)}, after {md(choice.short_type)} came short. Chosen: {md(choice.name)}, "
        f"{words.size(choice.size_bytes)}.",
        table(head, rows, numbers=(2, 3, 4, 5)),
    ]
    kinds: dict[str, list[str]] = {}
    for group, kind in choice.types.items():
        kinds.setdefault(kind, []).append(group)
    if kinds:
        parts.append(table(("Type", "Groups"), [(kind, md(", ".join(groups))) for kind, groups in kinds.items()]))
    return "\n\n".join(parts) + "\n"


def recommendations_markdown(found: Sequence[Recommendation]) -> str:
    """Each way on, by which numbers, and the plan lines for it."""
    parts = []
    for number, one in enumerate(found, start=1):
        lines = f"\n\n```yaml\n{one.plan_lines}\n```" if one.plan_lines else ""
        parts.append(f"{number}. **{md(one.what)}** {md(one.why)}{lines}")
    return "\n\n".join([*parts, PLAN_AGAIN]) + "\n"


def training_markdown(found: Training) -> str:
    """The curve on the dev split, and the step that was chosen."""
    rows = [
        (f"**{point.step}**" if point.step == found.chosen_step else str(point.step), words.compact(point.loss),
         words.compact(point.dev_kl_nats), words.percent(point.dev_top1))
        for point in found.curve
    ]  # fmt: skip
    stopped = ", stopped early" if found.stopped_early else ""
    head = ("Step", "Loss, nats a token", "Divergence on dev, nats", "Same token on dev")
    return (
        f"{found.steps_done:,} of {found.settings.steps:,} steps{stopped} over {found.texts:,} texts on {md(found.device)}, "
        f"{words.duration(found.seconds)}. Step {found.chosen_step:,} diverges least on the dev split.\n\n"
        + table(head, rows, numbers=(0, 1, 2, 3))
        + "\n"
    )
