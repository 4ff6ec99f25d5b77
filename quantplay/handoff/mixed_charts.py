"""Play 5 in pictures: size against divergence of all that was measured, damage and bytes a group, and what was kept high."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantplay.handoff.charts import Chart, Row, Scale, box, dot, joined, line, words
from quantplay.handoff.plots import nice_ticks
from quantplay.handoff.words import compact, size
from quantplay.records import GroupOptions, MixChoice, TypeOption

MIB = 1 << 20
COLOURS = {"mix": "cand", "uniform": "info", "llama.cpp": "base"}
FRONTIER_LEGEND = {"mix": "mixes", "uniform": "one type everywhere", "llama.cpp": "llama.cpp's own mixes"}
GROUP_LEGEND = (("cand", "bytes as chosen"), ("warn", "damage as chosen"))
SHOWN = 24  # groups of the chart, those that take most damage; all are in the record
TOP, BOTTOM = 18, 300  # px of the frontier


@dataclass(frozen=True, kw_only=True)
class KeptHigh:
    """A group with more bits than the type most weights got."""

    group: str
    kind: str
    extra_bytes: int  # over the common type
    damage_nats: float  # alone, as chosen
    avoided_nats: float  # less than as the common type


def mix_charts(choice: MixChoice | None) -> list[Chart]:
    """The frontier and the groups; nothing where no mix was chosen."""
    if choice is None or not choice.measured:
        return []
    groups = [groups_chart(choice)] if choice.types else []
    return [frontier_chart(choice), *groups]


def frontier_chart(choice: MixChoice) -> Chart:
    """Bytes against mean divergence, which is on a logarithmic scale: a step of the grid is a factor."""
    points = [(one, max(1e-9, one.mean_kl_nats)) for one in choice.measured]
    measured = {one.origin for one in choice.measured}
    sizes, logs = [one.size_bytes / MIB for one, _ in points], [math.log10(nats) for _, nats in points]
    room = 0.12 * (max(sizes) - min(sizes)) or 0.05 * max(sizes)
    x = Scale(low=max(0.0, min(sizes) - room), high=max(max(sizes), choice.budget_bytes / MIB) + room, margin=0)
    low, high = min(logs) - 0.15, max(logs) + 0.15

    def at(log: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (log - low) / (high - low), 2)

    parts = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            log = power + math.log10(factor)
            if low <= log <= high:
                parts += [
                    line(0, 100, at(log), at(log), "grid"),
                    words(0, at(log) - 4, f"{factor * 10.0**power:g} nats"),
                ]
    limit = x.at(choice.budget_bytes / MIB)
    parts += [
        line(limit, limit, TOP, BOTTOM, "limit"),
        words(limit, TOP - 4, "budget", "tick end" if limit > 80 else "tick middle"),
    ]
    for one, nats in sorted(points, key=lambda point: point[0].origin == "mix"):
        taken = one.name == choice.name
        parts.append(dot(x.at(one.size_bytes / MIB), at(math.log10(nats)), COLOURS[one.origin], 7.5 if taken else 5))
    parts += labels(choice, [(x.at(one.size_bytes / MIB), at(math.log10(nats)), one.name) for one, nats in points])
    step = nice_ticks(x.high - x.low)[1]
    ticks = [step * count for count in range(math.ceil(x.low / step), math.floor(x.high / step) + 1)]
    parts += [
        words(x.at(tick), BOTTOM + 22, f"{tick:g} MiB", "tick start" if x.at(tick) < 8 else "tick middle")
        for tick in (round(tick, 9) for tick in ticks)
        if x.at(tick) < 95
    ]
    return Chart(
        title="Size against divergence of what was measured",
        note="Mean KL divergence from full precision on the dev split, in nats a token, on a logarithmic scale; the lower left is best. "
        "The large dot was chosen.",
        rows=(Row(label="", value="", track=joined(parts), height=BOTTOM + 30),),
        legend=tuple((COLOURS[origin], said) for origin, said in FRONTIER_LEGEND.items() if origin in measured),
    )


def labels(choice: MixChoice, points: Sequence[tuple[float, float, str]]) -> list:
    """Names beside the dots, the chosen one first; a name that would touch one already there is left out: the table has all."""
    placed: list[tuple[float, float]] = []
    found = []
    for x, y, name in sorted(points, key=lambda point: (point[2] != choice.name, point[1])):
        if any(abs(x - other) < 26 and abs(y - height) < 14 for other, height in placed):
            continue
        placed.append((x, y))
        right = x < 70
        text = name.removeprefix("llama.cpp ").removeprefix("uniform ")
        kind = "mark" if name == choice.name else "tick"
        found.append(words(x, y + 4, text, f"{kind} {'start' if right else 'end'}", dx=11 if right else -11))
    return found


def groups_chart(choice: MixChoice) -> Chart:
    """A row a group: its bytes, and what it does alone as the type it got."""
    taken = [(group, chosen_option(group, choice)) for group in choice.groups]
    worst = sorted(taken, key=lambda pair: (-pair[1].damage_nats, pair[0].group))[:SHOWN]
    names = {group.group for group, _ in worst}
    shown = [pair for pair in taken if pair[0].group in names]
    most_bytes = max(option.stored_bytes for _, option in shown)
    most_damage = max(option.damage_nats for _, option in shown) or 1.0
    rows = tuple(
        Row(
            label=f"{group.group}: {option.kind}",
            value=f"{size(option.stored_bytes)}, {compact(option.damage_nats)} nats",
            track=joined([
                box(0, 100 * option.stored_bytes / most_bytes, 2, 7, "bar cand", radius=2),
                box(0, 100 * option.damage_nats / most_damage, 11, 7, "bar warn", radius=2),
            ]),
            height=22,
        )
        for group, option in shown
    )  # fmt: skip
    left = f"; {len(taken) - len(shown)} groups with less damage are left out" if len(taken) > len(shown) else ""
    return Chart(
        title="Damage and bytes a group",
        note=f"Damage: mean KL divergence with this group alone as its type, on calibration text{left}. The longest bar is "
        f"{size(most_bytes)} or {compact(most_damage)} nats.",
        rows=rows,
        legend=GROUP_LEGEND,
        wide=True,
    )


def kept_high(choice: MixChoice) -> list[KeptHigh]:
    """Groups above the common type, those that avoid most damage first: what was kept high and what it cost."""
    if not choice.types:
        return []
    common = common_kind(choice)
    found = []
    for group in choice.groups:
        option = chosen_option(group, choice)
        plain = next((one for one in group.types if one.kind == common), None)
        if plain is not None and option.stored_bytes > plain.stored_bytes:
            found.append(
                KeptHigh(
                    group=group.group, kind=option.kind, extra_bytes=option.stored_bytes - plain.stored_bytes,
                    damage_nats=option.damage_nats, avoided_nats=plain.damage_nats - option.damage_nats,
                )
            )  # fmt: skip
    return sorted(found, key=lambda one: (-one.avoided_nats, one.group))


def common_kind(choice: MixChoice) -> str:
    """The type that most bytes of the mix are stored as."""
    held: dict[str, int] = {}
    for group in choice.groups:
        option = chosen_option(group, choice)
        held[option.kind] = held.get(option.kind, 0) + option.stored_bytes
    return max(held, key=lambda kind: (held[kind], kind))


def chosen_option(group: GroupOptions, choice: MixChoice) -> TypeOption:
    return next(one for one in group.types if one.kind == choice.types[group.group])


def mix_sentence(choice: MixChoice) -> str:
    """What was chosen, against the best in the budget of what there is without mixing."""
    taken = next((one for one in choice.measured if one.name == choice.name), None)
    rivals = [one for one in choice.measured if one.origin != "mix" and one.size_bytes <= choice.budget_bytes]
    said = f"Under {size(choice.budget_bytes)}, after {choice.short_type} came short: {choice.name}, {size(choice.size_bytes)}"
    if taken is None or not rivals:
        return f"{said}."
    best = min(rivals, key=lambda one: (one.mean_kl_nats, one.name))
    if best.name == taken.name:
        return f"{said}. No mix of our own did better within the budget."
    less = 100 * (1 - taken.mean_kl_nats / best.mean_kl_nats)
    return (
        f"{said}. It diverges {less:.0f} % less on the dev split than the best other file in the budget, {best.name}."
    )
