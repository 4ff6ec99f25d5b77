"""The pictures of a run: quality by slice, size against divergence, speed, memory, and the bar of one gated slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from quantplay.formats import SERVERS
from quantplay.handoff.charts import Chart, Row, Scale, box, dot, joined, line, svg, words
from quantplay.handoff.contents import RunResults
from quantplay.handoff.words import compact, drop_text, number, size, slice_title
from quantplay.records import Performance, SliceVerdict, Spread

Z95 = 1.959964
TONES = {"pass": "good", "close": "warn", "broken": "bad", "inconclusive": "info"}
BOTH = (("base", "full precision"), ("cand", "quantized"))
ONE_COLUMN = 12  # slices; more take the whole width
CHARACTER = 1.8  # percent of the narrowest bar that a character of a label takes


def all_charts(results: RunResults) -> dict[str, Chart]:
    """Name -> chart, of everything there is something to show about."""
    made = {
        "quality": quality_chart(results),
        "divergence": divergence_chart(results),
        "speed": speed_chart(results),
        "memory": memory_chart(results),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def wilson(share: float, count: float) -> tuple[float, float]:
    """Two-sided 95 % interval of a mean of `count` values in [0, 1].

    E. B. Wilson, JASA 22 (1927) 209-212; for graded values it is on the wide side, since their variance is at most p (1 - p).
    """
    middle = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def tolerance_scale(verdicts: Sequence[SliceVerdict]) -> Scale:
    """One scale for all bars of a unit, so that they can be compared by eye."""
    lows = [min(0.0, one.interval_low) for one in verdicts]
    highs = [max(one.interval_high, one.upper, 1.12 * one.broken_drop) for one in verdicts]
    room = 0.06 * (max(highs) - min(lows))
    return Scale(low=min(lows) - room, high=max(highs) + room / 2, margin=0)


def tolerance_bar(verdict: SliceVerdict, scale: Scale) -> Markup:
    """The drop with its 90 % interval over what is allowed (green), too much (amber) and broken (red)."""
    zero, allowed, broken = scale.at(0), scale.at(verdict.max_drop), scale.at(verdict.broken_drop)
    tone = TONES[verdict.verdict]
    parts = [
        box(0, allowed, 7, 18, "zone good"),
        box(allowed, broken, 7, 18, "zone warn"),
        box(broken, 100, 7, 18, "zone bad"),
        line(zero, zero, 3, 29, "axis"),
        line(allowed, allowed, 3, 29, "limit"),
        line(scale.at(verdict.interval_low), scale.at(verdict.interval_high), 16, 16, f"interval {tone}"),
        *(line(x, x, 11, 21, f"cap {tone}") for x in map(scale.at, (verdict.interval_low, verdict.interval_high))),
    ]
    if scale.at(verdict.upper) - scale.at(verdict.interval_high) > 0.8:
        parts.append(line(scale.at(verdict.interval_high), scale.at(verdict.upper), 16, 16, f"beyond {tone}"))
        parts.append(line(scale.at(verdict.upper), scale.at(verdict.upper), 12, 20, f"cap {tone}"))
    parts.append(dot(scale.at(verdict.drop), 16, f"point {tone}", 5.5))
    allowed_text, broken_text = f"{verdict.max_drop:g} allowed", f"{verdict.broken_drop:g} broken"
    if collide((allowed, allowed_text), (broken, broken_text)):
        marks = [(allowed, f"{allowed_text}, {broken_text}", "start")]
    else:
        marks = [(allowed, allowed_text, "middle"), (broken, broken_text, "middle")]
    if not any(collide((zero, "0"), (x, text)) or (edge == "start" and allowed - zero < 4) for x, text, edge in marks):
        marks.append((zero, "0", "middle"))
    parts += [words(x, 42, text, f"tick {'end' if x > 88 else edge}") for x, text, edge in marks]
    return svg(
        joined(parts), 46, f"drop {drop_text(verdict)}, allowed {verdict.max_drop:g}, broken {verdict.broken_drop:g}"
    )


def collide(one: tuple[float, str], other: tuple[float, str]) -> bool:
    """Whether two centred labels (x in percent, text) would touch on the narrowest screen."""
    return abs(one[0] - other[0]) < CHARACTER * (len(one[1]) + len(other[1])) / 2 + 1


def quality_chart(results: RunResults) -> Chart | None:
    """Mean score a slice, both models, with Wilson intervals."""
    decision = results.decision
    scored = [one for one in decision.slices if one.metric == "score"] if decision else []
    if not scored:
        return None
    means = {id(one): (one.baseline / 100, one.candidate / 100) for one in scored}
    bounds = {key: [wilson(min(1.0, max(0.0, mean)), count) for mean in pair] for (key, pair), count in
              zip(means.items(), (one.clusters for one in scored), strict=True)}  # fmt: skip
    lowest = 100 * min(low for pair in bounds.values() for low, _ in pair)
    step = 5 if lowest >= 75 else 10 if lowest >= 40 else 20
    scale = Scale(low=step * math.floor(lowest / step), high=100)
    ticks = [scale.low + step * k for k in range(round((100 - scale.low) / step) + 1)]
    rows = []
    for one in scored:
        parts = [line(scale.at(tick), scale.at(tick), 0, 34, "grid") for tick in ticks]
        for (low, high), mean, y, kind in zip(bounds[id(one)], means[id(one)], (11, 24), ("base", "cand"), strict=True):
            parts.append(line(scale.at(100 * low), scale.at(100 * high), y, y, f"whisker {kind}"))
            parts.append(dot(scale.at(100 * mean), y, kind, 5.5))
        value = f"{number(one.baseline)} → {number(one.candidate)} %"
        rows.append(Row(label=slice_title(results.plan, one), value=value, track=joined(parts), height=34))
    rows.append(Row(label="", value="", track=_ticks(scale, ticks, " %"), height=18))
    return Chart(
        title="Quality by slice",
        note="Share of right answers. Whiskers: 95 % Wilson intervals of each model alone; the gate compares the two item "
        "by item, which is sharper.",
        rows=tuple(rows),
        legend=BOTH,
        wide=len(scored) > ONE_COLUMN,
    )


def _ticks(scale: Scale, ticks: Sequence[float], unit: str) -> Markup:
    marks = []
    for index, tick in enumerate(ticks):
        edge = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
        text = f"{tick:g}{unit}" if index in (0, len(ticks) - 1) else f"{tick:g}"
        marks.append(words(scale.at(tick), 12, text, f"tick {edge}"))
    return joined(marks)


def divergence_chart(results: RunResults) -> Chart | None:
    """File size against mean KL divergence of every candidate that was measured; full precision is the lower right end."""
    seen = {
        one.type: (one.size_bytes, one.divergence.mean_kl_nats, Z95 * one.divergence.mean_kl_se)
        for one in results.attempts
    }
    if results.artifact and results.evaluation:
        one = results.evaluation.divergence
        seen[results.artifact.type] = (results.artifact.size_bytes, one.mean_kl_nats, Z95 * one.mean_kl_se)
    if not seen or results.baseline is None:
        return None
    full = results.baseline.performance.weights_bytes
    x = Scale(low=0, high=1.08 * max(full, *(bytes_ for bytes_, _, _ in seen.values())), margin=0)
    top = max(kl + half for _, kl, half in seen.values())
    limit = results.plan.gate.alarms.mean_kl_nats
    if limit < 2.5 * top:
        top = max(top, limit)
    y = PixelScale(high=1.25 * top if top > 0 else 1.0)
    parts = []
    for tick in nice_ticks(y.high):
        parts += [
            line(0, 100, y.at(tick), y.at(tick), "grid"),
            words(0, y.at(tick) - 4, f"{tick:g} nats" if tick else "0"),
        ]
    if limit <= y.high:
        parts += [
            line(0, 100, y.at(limit), y.at(limit), "limit"),
            words(100, y.at(limit) - 4, "alarm above", "tick end"),
        ]
    for name, (size_bytes, kl, half) in sorted(seen.items()):
        at = x.at(size_bytes)
        parts += [
            line(at, at, y.at(max(0.0, kl - half)), y.at(kl + half), "whisker cand"),
            dot(at, y.at(kl), "cand", 6.5),
        ]
        right = at < 60
        parts.append(words(at, y.at(kl) - 1, name, "mark start" if right else "mark end", dx=12 if right else -12))
        detail = f"{size(size_bytes)}, {compact(kl)} nats"
        parts.append(words(at, y.at(kl) + 13, detail, "tick start" if right else "tick end", dx=12 if right else -12))
    parts += [
        dot(x.at(full), y.at(0), "base", 6.5),
        words(x.at(full), y.at(0) - 12, "full precision", "mark end", dx=4),
    ]
    size_ticks = [tick for tick in nice_ticks(x.high / (1 << 20)) if tick * (1 << 20) < 0.97 * x.high]
    parts += [
        words(x.at(tick * (1 << 20)), y.bottom + 22, f"{tick:g} MiB", "tick start" if tick == 0 else "tick middle")
        for tick in size_ticks
    ]
    return Chart(
        title="Size against divergence",
        note="Mean KL divergence from full precision over held-out text, in nats a token; whiskers: 95 % intervals from the "
        "standard error. Lower left is better. It raises alarms and never decides.",
        rows=(Row(label="", value="", track=joined(parts), height=y.bottom + 30),),
        legend=BOTH,
    )


@dataclass(frozen=True, kw_only=True)
class PixelScale:
    """Maps 0 ... `high` to pixels from the bottom up."""

    high: float
    top: int = 18
    bottom: int = 230

    def at(self, value: float) -> float:
        return round(self.bottom - (self.bottom - self.top) * value / self.high, 2)


def nice_ticks(high: float, wanted: int = 4) -> list[float]:
    """0 and round steps (1, 2 or 5 times a power of ten) up to `high`."""
    raw = high / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.7 * raw)
    return [round(step * k, 12) for k in range(int(high / step + 1e-9) + 1)]


def speed_chart(results: RunResults) -> Chart | None:
    arms = performances(results)
    if not arms:
        return None
    first = next(iter(arms.values()))
    rows = (
        _bars("Time to first token, ms (less is better)", {k: p.time_to_first_token_ms for k, p in arms.items()}),
        _bars("Time per token, ms (less is better)", {k: p.time_per_token_ms for k, p in arms.items()}),
        _bars("Reading the prompt, tokens/s (more is better)", {k: p.prompt_tokens_per_second for k, p in arms.items()}),
        _bars("Writing, tokens/s, all sequences (more is better)",
              {k: p.generated_tokens_per_second for k, p in arms.items()}),
    )  # fmt: skip
    load = f"{first.batch} sequence{'s' if first.batch > 1 else ''} at once, context {first.context_tokens:,} tokens"
    return Chart(
        title="Speed",
        note=f"In the serving runtime{', as its clients see it' if results.plan.envelope.runtime in SERVERS else ''}: {load}, "
        f"{first.threads} thread{'s' if first.threads > 1 else ''}, {first.repeats} repeats, both models in turn. Bars: "
        "medians; whiskers reach the 95th percentile.",
        rows=rows,
        legend=BOTH[: len(arms)],
    )


def memory_chart(results: RunResults) -> Chart | None:
    arms = performances(results)
    if not arms:
        return None
    mib = 1 << 20
    rows = (
        _bars("Weights, MiB", {k: p.weights_bytes / mib for k, p in arms.items()}),
        _bars("Key-value cache, MiB", {k: p.cache_bytes / mib for k, p in arms.items()}),
        _bars("Peak memory of the process, MiB", {k: p.peak_resident_bytes / mib for k, p in arms.items()}),
        *(
            [_bars("Memory of the accelerator, MiB", {k: (p.device_bytes or 0) / mib for k, p in arms.items()})]
            if any(p.device_bytes is not None for p in arms.values())
            else []
        ),
    )
    return Chart(
        title="Memory",
        note="Measured once, in a process of its own for each model; the peak includes the runtime itself.",
        rows=rows,
        legend=BOTH[: len(arms)],
    )


def performances(results: RunResults) -> dict[str, Performance]:
    """base and, when there is one, cand: measured in the same session."""
    if results.evaluation:
        return {"base": results.evaluation.reference_performance, "cand": results.evaluation.performance}
    return {"base": results.baseline.performance} if results.baseline else {}


def _bars(label: str, values: dict[str, Spread] | dict[str, float]) -> Row:
    spreads = {kind: one if isinstance(one, Spread) else Spread(p50=one, p95=one) for kind, one in values.items()}
    longest = max(one.p95 for one in spreads.values()) or 1.0
    parts = []
    for index, (kind, one) in enumerate(spreads.items()):
        y, end, tail = 3 + 19 * index, 62 * one.p50 / longest, 62 * one.p95 / longest
        parts.append(box(0, end, y, 14, f"bar {kind}", radius=3))
        text = compact(one.p50)
        if one.p95 > one.p50:
            parts.append(line(round(end, 3), round(tail, 3), y + 7, y + 7, f"whisker {kind}"))
            text += f" (p95 {compact(one.p95)})"
        parts.append(words(round(max(end, tail), 3), y + 11.5, text, "value", dx=7))
    ratio = ""
    if len(spreads) == 2 and spreads["base"].p50 > 0:
        ratio = f"× {number(spreads['cand'].p50 / spreads['base'].p50, 2)}"
    return Row(label=label, value=ratio, track=joined(parts), height=4 + 19 * len(spreads))
