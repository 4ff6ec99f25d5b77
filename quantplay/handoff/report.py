"""report.html: one file, no scripts, nothing loaded from elsewhere; made from what a run has, complete or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from quantplay.gate.predicted import Compared, compare, win_sentences
from quantplay.gate.rule import PRECEDENCE
from quantplay.gate.sentences import remarks
from quantplay.handoff import words
from quantplay.handoff.calibration import calibration_words
from quantplay.handoff.charts import TEMPLATES, chart_css
from quantplay.handoff.contents import RunResults
from quantplay.handoff.flips import collect_flips
from quantplay.handoff.looks import COLUMNS
from quantplay.handoff.looks import cells as cells_of_look
from quantplay.handoff.mixed_charts import kept_high, mix_charts, mix_sentence
from quantplay.handoff.plots import TONES, all_charts, performances, tolerance_bar, tolerance_scale
from quantplay.handoff.templating import render
from quantplay.handoff.updates import HEAD, cells, update_sentence, updates_of
from quantplay.records import EnvelopeCheck, SliceVerdict


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number of the first screen."""

    label: str
    value: str
    note: str
    tone: str = ""


FULL_TABLE = 12
"""With more gated quantities than this, those that pass with room to spare are folded away."""


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One gated quantity as the gate table shows it."""

    title: str
    before: str
    after: str
    drop: str
    interval: str
    flips: str
    tone: str
    verdict: str
    reason: str  # empty where the page says it already
    bar: Markup


def render_report(results: RunResults) -> str:
    """The report of a run as one HTML file. Equal results give equal text."""
    decision = results.decision
    rows, charts = gate_rows(results), all_charts(results)
    shown = shown_rows(rows)
    return render(
        "report.html.jinja",
        css=Markup(chart_css() + (TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own files
        r=results,
        plan=results.plan,
        head=words.headline(results),
        left=words.left_sentence(results),
        lead=lead(results),
        tiles=tiles(results),
        gate=rows[:shown],
        folded=rows[shown:],
        charts={name: chart for name, chart in charts.items() if not chart.wide},
        mix_charts=mix_charts(results.mix),
        mix_sentence=mix_sentence(results.mix) if results.mix else "",
        kept_high=kept_high(results.mix) if results.mix else [],
        size=words.size,
        compact=words.compact,
        wide_charts=[chart for chart in charts.values() if chart.wide],
        flips=collect_flips(results),
        facts=recipe_facts(results),
        machine=machine_facts(results),
        digests=digests(results),
        tones=TONES,
        titles={name: info.title for name, info in results.plan.evaluation.slices.items()},
        check_words=check_words,
        look_columns=tuple(COLUMNS),
        look_cells=cells_of_look,
        decision=decision,
        predicted=predicted_of(results),
        wins=wins_of(results),
        remarks=remarks(decision) if decision else (),
        calibration=calibration_words(results.calibration, results.plan) if results.calibration else None,
        update=update_sentence(results.update, results.artifact.type if results.artifact else None)
        if results.update
        else "",
        update_head=HEAD,
        update_rows=[cells(row) for row in updates_of(results.update, decision, results.plan)],
    )


def predicted_of(results: RunResults) -> tuple[Compared, ...]:
    """What play 2 predicted of the last candidate beside what was measured."""
    if results.envelope is None or results.artifact is None or results.evaluation is None:
        return ()
    evaluation = results.evaluation
    return compare(
        results.envelope, results.artifact.type, evaluation.performance, evaluation.reference_performance
    )  # fmt: skip


def wins_of(results: RunResults) -> tuple[str, ...]:
    """Whether the win the plan named came."""
    if results.artifact is None or results.evaluation is None:
        return ()
    return win_sentences(results.plan.envelope, results.envelope, results.evaluation, results.artifact)


def lead(results: RunResults) -> tuple[str, ...]:
    """The sentences under the headline: what decided, worst first."""
    decision = results.decision
    if decision:
        missed = sum(not check.met for check in decision.envelope)  # their sentences come last
        if decision.verdict == "pass" and missed:
            return (*decision.reasons[-missed:], decision.reasons[0])
        return decision.reasons[:2]
    return (*results.envelope.wrong_moves, *results.envelope.reasons) if results.envelope else ()


def tiles(results: RunResults) -> list[Tile]:
    """Size, quality, speed and memory, each against full precision."""
    found: list[Tile] = []
    arms = performances(results)
    base, cand = arms.get("base"), arms.get("cand")
    worst = words.worst(results.decision) if results.decision else None
    if worst:
        limit = f"{worst.max_drop:g} allowed"
        lost = worst.drop > 0
        found.append(
            Tile(
                label="Largest loss of quality" if lost else "Quality: no slice lost",
                value=f"{words.number(worst.drop)} points",
                note=f"{words.slice_title(results.plan, worst)}: 90 % interval "
                f"{words.interval(worst.interval_low, worst.interval_high)}, {limit}",
                tone=TONES[worst.verdict],
            )
        )
    if results.artifact and base:
        note = f"{words.smaller(results.artifact.size_bytes, base.weights_bytes)} than full precision's {words.size(base.weights_bytes)}"
        source = results.inputs.model.weights_bytes if results.inputs else 0
        if 0 < source < 0.9 * base.weights_bytes:  # served wider than it came
            note += f", {words.smaller(results.artifact.size_bytes, source)} than the source's {words.size(source)}"
        found.append(Tile(label="File to serve", value=words.size(results.artifact.size_bytes), note=note))
    if base and cand:
        ratio = cand.time_per_token_ms.p50 / base.time_per_token_ms.p50
        found.append(
            Tile(
                label="Time per token (median)",
                value=f"{words.compact(cand.time_per_token_ms.p50)} ms",
                note=f"× {words.number(ratio, 2)} of full precision's {words.compact(base.time_per_token_ms.p50)} ms",
            )
        )
        found.append(
            Tile(
                label="Peak memory",
                value=words.size(cand.peak_bytes),
                note=f"full precision takes {words.size(base.peak_bytes)}",
            )
        )
    elif base:
        found += [
            Tile(label="Full precision, weights", value=words.size(base.weights_bytes), note="in the serving runtime"),
            Tile(
                label="Time per token (median)", value=f"{words.compact(base.time_per_token_ms.p50)} ms",
                note="full precision in the serving runtime",
            ),
            Tile(label="Peak memory", value=words.size(base.peak_bytes), note="full precision"),
        ]  # fmt: skip
    return found


def gate_rows(results: RunResults) -> list[GateRow]:
    """Every gated quantity with its bar; bars with the same tolerances share a scale, so that the eye can compare them.

    In the plan's order where they are few; otherwise what fails comes first, then what is nearest to its limit.
    """
    if results.decision is None:
        return []
    verdicts: Sequence[SliceVerdict] = results.decision.slices
    if len(verdicts) > FULL_TABLE:
        verdicts = sorted(
            verdicts, key=lambda one: (-PRECEDENCE.index(one.verdict), one.upper / one.max_drop), reverse=True
        )
    alike: dict[tuple[str, float, float], list[SliceVerdict]] = {}
    for one in verdicts:
        alike.setdefault((one.unit, one.max_drop, one.broken_drop), []).append(one)
    scales = {key: tolerance_scale(group) for key, group in alike.items()}
    return [
        gate_row(results, one, tolerance_bar(one, scales[one.unit, one.max_drop, one.broken_drop])) for one in verdicts
    ]


def shown_rows(rows: Sequence[GateRow]) -> int:
    """How many rows stand open: all of a short table; of a long one what does not pass, and never fewer than fit."""
    if len(rows) <= FULL_TABLE:
        return len(rows)
    return max(FULL_TABLE - 2, sum(row.verdict != "pass" for row in rows))


def gate_row(results: RunResults, one: SliceVerdict, bar: Markup) -> GateRow:
    digits, points = words.digits_of(one), one.unit == "points"
    documents = f", {one.clusters:,} documents" if one.clusters != one.items else ""
    changed = (
        f"{one.lost:,} lost, {one.won:,} won of {one.items:,} items{documents}" if points else f"{one.items:,} items"
    )
    return GateRow(
        title=words.slice_title(results.plan, one),
        before=f"{words.number(one.baseline, digits)}{' %' if points else ' nats'}",
        after=f"{words.number(one.candidate, digits)}{' %' if points else ' nats'}",
        drop=f"{'Drop' if points else 'Rise'} {words.number(one.drop, digits)} {one.unit}",
        interval=f"90 % interval {words.interval(one.interval_low, one.interval_high, digits)}",
        flips=changed,
        tone=TONES[one.verdict],
        verdict=one.verdict,
        reason="" if one.verdict == "pass" or one.reason in lead(results) else one.reason,
        bar=bar,
    )


def check_words(check: EnvelopeCheck) -> dict[str, str]:
    """One promise in words."""
    least = check.name == "generation speed"
    ratio = check.unit.startswith("of ")
    shown = f"× {words.number(check.measured, 2)}" if ratio else words.compact(check.measured)
    limit = f"× {words.number(check.limit, 2)}" if ratio else f"{check.limit:g}"
    return {
        "name": check.name[:1].upper() + check.name[1:],
        "measured": f"{shown} {check.unit}",
        "limit": f"{'at least' if least else 'below' if ' won:' in check.name else 'at most'} {limit} {check.unit}",
    }


def recipe_facts(results: RunResults) -> list[tuple[str, str]]:
    """How the artifact was made."""
    recipe, artifact = results.recipe, results.artifact
    facts: list[tuple[str, str]] = []
    if recipe and recipe.imported:
        facts += [
            ("Method", f"quantized elsewhere and imported as {recipe.format} {recipe.type}: how it was made, and with which texts, is not known here"),
            ("Left unquantized", "; ".join(recipe.higher_precision)),
        ]  # fmt: skip
    elif recipe:
        facts += [
            ("Method", f"{recipe.method}, {recipe.format} {recipe.type}"),
            ("Bits", f"{recipe.bits_per_weight:g} nominal per weight, {recipe.bits_activations} per activation"),
            ("Group size", f"{recipe.group_size} weights share a scale"),
            (
                "Importance matrix",
                f"from {recipe.calibration_samples:,} calibration samples of at most {recipe.calibration_tokens:,} tokens"
                if recipe.importance_matrix else "none",
            ),
            ("Kept at higher precision", "; ".join(recipe.higher_precision) or "nothing"),
            ("Types of single tensors", ", ".join(f"{k} → {v}" for k, v in sorted(recipe.tensor_types.items())) or "the format's own mix"),
            ("Seed, threads", f"{recipe.seed}, {recipe.threads}"),
        ]  # fmt: skip
    if artifact:
        kinds: dict[str, int] = {}
        for kind in artifact.tensors.values():
            kinds[kind] = kinds.get(kind, 0) + 1
        facts += [
            ("What came out", f"{artifact.file_name}, {words.size(artifact.size_bytes)}, "
             f"{words.number(artifact.bits_per_weight, 2)} bits per weight measured"),
            ("Tensors by type", ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))),
            *([("Made in", f"{words.duration(artifact.seconds)}, peak memory {words.size(artifact.peak_resident_bytes)}")] if artifact.seconds else []),
        ]  # fmt: skip
    if recipe and recipe.versions:
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in sorted(recipe.versions.items()))))
    return facts


def machine_facts(results: RunResults) -> list[tuple[str, str]]:
    """What was measured on what."""
    baseline = results.baseline
    if baseline is None:
        return []
    hardware, software = baseline.fingerprint.hardware, baseline.fingerprint.software
    floor = baseline.noise_floor
    worst = max(floor.max_drop_points.values(), default=0.0)
    target = results.decision.target if results.decision else None
    serves = "not named by the plan" if target is None or target.target is None else target.target
    facts = [
        ("Will be served on", serves),
        ("Processor", f"{hardware.cpu}, {hardware.cores} cores usable, {baseline.fingerprint.threads} used"),
        ("Memory", words.size(hardware.memory_bytes)),
        ("Accelerators", ", ".join(hardware.accelerators) or "none"),
        ("System", f"{software.system}, Python {software.python}"),
        ("Serving runtime", software.runtime),
        ("Full precision", f"{baseline.precision} in {baseline.source.runtime}; {baseline.reference.precision} in "
         f"{baseline.reference.runtime}"),
        ("Noise floor", f"{words.number(worst)} points at most, {words.percent(floor.flip_rate)} of {floor.items:,} items "
         f"flipped ({floor.changed})"),
        ("Hardest items", f"{len(baseline.hardest):,}, by {baseline.difficulty}"),
    ]  # fmt: skip
    if "server" in baseline.reference.serving:
        serving = baseline.reference.serving
        facts.insert(
            6, ("Server", f"{serving['server']}, asked {results.plan.envelope.batch} at once; {serving['flags']}")
        )
    if results.evaluation and results.evaluation.fingerprint != baseline.fingerprint:
        facts.insert(
            0, ("Attention", "the candidate was measured on another machine or with other software than the baseline")
        )
    return facts


def digests(results: RunResults) -> list[tuple[str, str]]:
    """What to compare when two reports should be about the same thing."""
    found = [("plan", results.plan.digest()), ("gate", results.plan.gate_digest())]
    if results.inputs:
        inputs = results.inputs
        found.append(("source model", inputs.model.content))
        found += [(f"{one.kind} set", one.content) for one in inputs.manifests[1:]]
    if results.baseline:
        found += [("harness", results.baseline.harness), ("baseline", results.baseline.digest())]
    if results.recipe:
        found.append(("recipe", results.recipe.digest()))
    if results.artifact:
        found.append(("artifact (sha256)", results.artifact.sha256))
    if results.evaluation:
        found.append(("evaluation", results.evaluation.digest()))
    if results.decision:
        found.append(("decision", results.decision.digest()))
    if results.decision and results.decision.standards:
        standards = results.decision.standards
        found.append((f"standards, version {standards.version}", standards.standards))
    return found
