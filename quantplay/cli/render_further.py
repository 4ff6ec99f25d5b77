"""Plays 5 and 6 in the terminal: what a scan found, which mixes were measured, how a training went."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from quantplay.cli.render import table_of
from quantplay.handoff import words
from quantplay.records import MixChoice, Sensitivity, Training

SHOWN = 8  # groups: the ones that suffer most


def sensitivity_table(found: Sensitivity) -> RenderableType:
    """The groups that suffer most as the type with the fewest bits, alone."""
    groups = {group.group: group for group in found.groups}
    columns = [("group", "left"), ("weights", "right"), (f"alone as {found.low}", "right"), ("restored alone", "right")]
    rows = []
    for name in found.ranking(found.low)[:SHOWN]:
        gain = groups[name].restored_gain_nats
        rows.append([
            name, f"{groups[name].weights:,}", f"{words.compact(groups[name].of(found.low).mean_kl_nats)} nats",
            "" if gain is None else f"{words.compact(gain)} nats",
        ])  # fmt: skip
    return table_of(f"Sensitivity: the worst of {len(found.groups)} groups", columns, rows)


def mix_table(choice: MixChoice) -> RenderableType:
    """The mixes that were made and measured, the smallest divergence first."""
    columns = [("mix", "text"), ("kind", "left"), ("file", "right"), ("predicted", "right"), ("divergence", "right")]
    rows = [
        [
            Text(one.name, style="bold" if one.name == choice.name else ""), one.origin, words.size(one.size_bytes),
            "" if one.predicted_nats is None else words.compact(one.predicted_nats), f"{words.compact(one.mean_kl_nats)} nats",
        ]
        for one in sorted(choice.measured, key=lambda one: (one.mean_kl_nats, one.name))
    ]  # fmt: skip
    return table_of(f"Mixed precision: chosen {choice.name}, within {words.size(choice.budget_bytes)}", columns, rows)


def training_line(found: Training) -> RenderableType:
    first, chosen = found.curve[0], found.chosen
    return Text.assemble(
        ("Training: ", "bold"), f"step {found.chosen_step:,} of {found.steps_done:,} chosen on the dev split, divergence "
        f"{words.compact(first.dev_kl_nats)} nats before and {words.compact(chosen.dev_kl_nats)} after; "
        f"{words.duration(found.seconds)} on {found.device}",
    )  # fmt: skip
