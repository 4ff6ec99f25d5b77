"""One calibration set against every rule: what it is like, and what is wrong with it. Docs: docs/calibration.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from quantplay.calibration.domain import FALSE_ALARMS, compare, drawn_from
from quantplay.calibration.duplicates import ALIKE, copies, near_copies
from quantplay.calibration.overlap import near_copies_in_texts, prompts_in_texts
from quantplay.calibration.samples import Counted, counted
from quantplay.calibration.topics import largest_group
from quantplay.evalset import EvalItem, TextSample
from quantplay.plan import Deviation
from quantplay.records import CalibrationCheck, CalibrationFinding, Digest, Waiver

FEWEST, MOST = 128, 512
GIANT = 4  # times `calibration.tokens`: of a longer document less than a quarter is read
LENGTH_RATIO = 1.5  # 90th percentile of the lengths over the 10th, at least
MOST_OF_ONE_KIND = 0.5  # share of the samples that may be of one kind
NAMED = 10  # samples a finding names
RULES = 1  # raise it whenever a rule or a threshold changes: a recorded check is good for its own rules only


@dataclass(frozen=True, kw_only=True)
class Against:
    """What the samples are compared with."""

    evaluation: Mapping[str, Sequence[EvalItem]] = field(default_factory=dict)  # split -> items
    heldout: Sequence[TextSample] = ()
    traffic: Sequence[TextSample] | None = None  # None: the domain is not checked


def check_calibration(
    samples: Sequence[TextSample],
    against: Against,
    *,
    calibration: Digest,
    tokens: int,
    tokenizer: Path | None = None,
    deviations: Sequence[Deviation] = (),
) -> CalibrationCheck:
    """Check the samples that will be used, each read up to `tokens` tokens.

    calibration: content digest of the pinned set. tokenizer: the model's tokenizer.json, or None to count words.
    deviations: a finding whose rule one of them names carries its reason as a waiver. Pure and deterministic.
    """
    set_ = counted(samples, tokens, tokenizer)
    figures: dict[str, float] = {}
    findings = [
        finding
        for rule in (count_rule, copies_rule, near_copies_rule, giants_rule, lengths_rule, topics_rule)
        for finding in rule(set_, tokens, figures)
    ]
    findings += overlap_rule(set_, against, figures)
    if against.traffic is not None:
        findings += domain_rule(set_, against.traffic, tokens, tokenizer, figures)
    reasons = {deviation.rule: deviation.reason for deviation in deviations}
    return CalibrationCheck(
        calibration=calibration,
        samples=len(samples),
        findings=tuple(one.model_copy(update={"waiver": reasons.get(one.rule)}) for one in findings),
        figures=figures,
    )


def waivers_of(check: CalibrationCheck) -> tuple[Waiver, ...]:
    """The defects that the plan accepts, with its reasons."""
    return tuple(
        Waiver(rule=one.rule, reason=one.waiver, what=one.what) for one in check.findings if one.waiver is not None
    )


Rule = Iterator[CalibrationFinding]
Figures = dict[str, float]


def count_rule(set_: Counted, _tokens: int, figures: Figures) -> Rule:
    count = len(set_.samples)
    figures["samples"] = count
    if not FEWEST <= count <= MOST:
        yield CalibrationFinding(
            rule="calibration.count",
            what=f"{some(count, 'sample is', 'samples are')} {'too few to measure with' if count < FEWEST else 'more than help'}.",
            value=f"{count:,} samples",
            allowed=f"{FEWEST} to {MOST}",
        )


def copies_rule(set_: Counted, _tokens: int, figures: Figures) -> Rule:
    found = copies(set_.samples)
    figures["repeated_samples"] = len(found)
    if found:
        yield CalibrationFinding(
            rule="calibration.duplicates",
            what=f"{some(len(found), 'sample says', 'samples say')} what an earlier one says; each counts twice.",
            value=few([f"{one} = {other}" for one, other in found]),
            allowed="none",
            samples=tuple(one for one, _ in found),
        )


def near_copies_rule(set_: Counted, _tokens: int, figures: Figures) -> Rule:
    exact = {one for one, _ in copies(set_.samples)}
    found = near_copies([sample for sample in set_.samples if sample.id not in exact])
    figures["near_copies"] = len(found)
    if found:
        yield CalibrationFinding(
            rule="calibration.near_duplicates",
            what=f"{some(len(found), 'sample differs', 'samples differ')} from an earlier one in a few words only.",
            value=few([f"{one} ~ {other}, {100 * alike:.0f} % alike" for one, other, alike in found]),
            allowed=f"none that share {100 * ALIKE:.0f} % of their three-word runs",
            samples=tuple(one for one, _, _ in found),
        )


def giants_rule(set_: Counted, tokens: int, figures: Figures) -> Rule:
    found = sorted((one for one in set_.samples if one.length > GIANT * tokens), key=lambda one: -one.length)
    figures[f"longest_{set_.unit}"] = max((one.length for one in set_.samples), default=0)
    figures["giant_documents"] = len(found)
    if found:
        yield CalibrationFinding(
            rule="calibration.giant_documents",
            what=f"{some(len(found), 'document is', 'documents are')} so long that less than a quarter is read: its head.",
            value=few([f"{one.id}: {one.length:,} {set_.unit}" for one in found]),
            allowed=f"at most {GIANT * tokens:,} {set_.unit}, {GIANT} times calibration.tokens",
            samples=named(one.id for one in found),
        )


def lengths_rule(set_: Counted, _tokens: int, figures: Figures) -> Rule:
    if not set_.samples:
        return
    low, middle, high = np.percentile([max(1, one.read_length) for one in set_.samples], [10, 50, 90])
    for name, value in (("p10", low), ("p50", middle), ("p90", high)):
        figures[f"read_{set_.unit}_{name}"] = float(value)
    ratio = figures["length_ratio_p90_p10"] = round(float(high / low), 6)
    if ratio < LENGTH_RATIO:
        typical = sorted(set_.samples, key=lambda one: abs(one.read_length - middle))
        yield CalibrationFinding(
            rule="calibration.length_variety",
            what="The samples are all about equally long, as far as they are read.",
            value=f"eight in ten have {low:,.0f} to {high:,.0f} {set_.unit}, a factor of {ratio:.2f}",
            allowed=f"a factor of at least {LENGTH_RATIO:g}",
            samples=named(one.id for one in typical),
        )


def topics_rule(set_: Counted, _tokens: int, figures: Figures) -> Rule:
    if not set_.samples:
        return
    group = largest_group(set_.samples)
    figures["largest_kind_share"] = round(group.share, 6)
    if group.share > MOST_OF_ONE_KIND and len(set_.samples) > 1:
        yield CalibrationFinding(
            rule="calibration.topic_variety",
            what=f"{100 * group.share:.0f} % of the samples are of one kind: put together from the same phrases as {group.centre}.",
            value=f"{len(group.members):,} of {len(set_.samples):,} samples",
            allowed=f"at most {100 * MOST_OF_ONE_KIND:.0f} % of one kind",
            samples=named(group.members),
        )


def overlap_rule(set_: Counted, against: Against, figures: Figures) -> Rule:
    """What is asked later, whole or nearly, in a calibration sample: a quantizer that saw the questions isn't tested by them."""
    texts = [(sample.id, sample.text) for sample in set_.samples]
    sets = {
        split: [(item.id, item.document, item.prompt) for item in items] for split, items in against.evaluation.items()
    }
    sets["heldout"] = [(text.id, text.id, text.text) for text in against.heldout]
    for name, prompts in sets.items():
        exact = dict(prompts_in_texts([(key, prompt) for key, _, prompt in prompts], texts))
        near = {one: other for one, other in near_copies_in_texts(prompts, texts) if one not in exact}
        figures[f"overlap_{name}"] = len(exact) + len(near)
        if exact or near:
            what = ("text of the held-out set", "texts of the held-out set") if name == "heldout" else (
                f"prompt of the {name} split", f"prompts of the {name} split"
            )  # fmt: skip
            both = exact | near
            yield CalibrationFinding(
                rule="calibration.overlap",
                what=f"{some(len(both), *what)} {'stands' if len(both) == 1 else 'stand'} in calibration samples"
                + (f", {len(near)} with a few words changed" if near else "")
                + ".",
                value=few([f"{one} in {other}" for one, other in both.items()]),
                allowed="none",
                samples=tuple(dict.fromkeys(both.values())),  # all: each has to go
            )


def domain_rule(
    set_: Counted, traffic: Sequence[TextSample], tokens: int, tokenizer: Path | None, figures: Figures
) -> Rule:
    figures["traffic_texts"] = len(traffic)
    if not set_.samples or not traffic:
        return
    heads = counted(drawn_from(traffic), tokens, tokenizer).samples  # compared as far as a sample of it would be read
    found = compare([sample.read for sample in set_.samples], [sample.read for sample in heads])
    figures |= {
        "divergence_bits": found.divergence,
        "divergence_limit_bits": found.limit,
        "divergence_p_value": found.p_value,
    }
    if found.differs:
        words = f" Typical of it: {', '.join(found.typical)}." if found.typical else ""
        yield CalibrationFinding(
            rule="calibration.domain",
            what=f"The samples are unlike the sample of traffic.{words}",
            value=f"Jensen-Shannon divergence {found.divergence:.3f} bits",
            allowed=f"at most {found.limit:.3f}, which {100 * FALSE_ALARMS:g} % of sets drawn from that traffic exceed",
            samples=named(set_.samples[index].id for index in found.unlike),
        )


def some(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def few(names: Sequence[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def named(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(ids)[:NAMED]
