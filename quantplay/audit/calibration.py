"""The calibration set: checked, in-domain, sound, and the one that was used."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.answers import QUANTIZE_HERE, Answer, line
from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.calibration import uses_calibration
from quantplay.plan import WAIVABLE

RULES = tuple(rule for rule in WAIVABLE if rule.startswith("calibration."))
QUESTIONS: dict[str, str] = {
    "calibration.count": "Are there 128 to 512 samples?",
    "calibration.duplicates": "Is every sample there once?",
    "calibration.near_duplicates": "Do samples differ in more than a few words?",
    "calibration.giant_documents": "Is every document read in good part?",
    "calibration.length_variety": "Do samples differ in length?",
    "calibration.topic_variety": "Do samples differ in topic?",
    "calibration.overlap": "Is nothing in it that is asked later?",
    "calibration.domain": "Is it like what the model is asked?",
}
FIX = "mend the set (docs/calibration.md), then quantplay check PLAN"


def calibration(facts: Facts) -> Iterator[Answer]:
    owner, check = facts.owner("ml_engineer"), facts.calibration
    used = uses_calibration(facts)
    if used is False:
        assert facts.recipe is not None
        yield line(
            "calibration", "Is the method calibrated, or does it do without?", owner, True,
            facts.shows("recipe", f"{facts.recipe.type} by {facts.recipe.method} reads no calibration text"),
        )  # fmt: skip
    yield line(
        "calibration", "Was the set checked before it was used?", owner, None if check is None else True,
        *([facts.shows("calibration", f"{check.samples} samples, {len(check.findings)} findings")] if check else []),
        ask="No check of the calibration set is on record; runs of earlier versions made none.", fix="quantplay run PLAN",
    )  # fmt: skip
    for rule in RULES:
        yield by_rule(facts, rule, owner)
    recipe, own = facts.recipe, facts.manifests.get("calibration")
    known = recipe is not None and own is not None and check is not None and not facts.imported
    same = (
        recipe is not None
        and own is not None
        and check is not None
        and recipe.calibration == own.content == check.calibration
    )
    yield line(
        "calibration", "Is the checked set the one the quantizer read?", owner, same if known else None,
        *([facts.shows("recipe", f"calibration {recipe.calibration[:12]}, {recipe.calibration_samples} samples")] if recipe else []),
        why="Pinned, checked and read sets are not one and the same.",
        fix=QUANTIZE_HERE if facts.imported else FIX,
        ask="It was quantized elsewhere: which texts were read is not known here." if facts.imported
        else "It takes recipe, manifest and check to tell.",
    )  # fmt: skip


def by_rule(facts: Facts, rule: str, owner: str) -> Answer:
    check = facts.calibration
    found = next((one for one in check.findings if one.rule == rule), None) if check is not None else None
    looked = check is not None and (rule != "calibration.domain" or check.figures.get("traffic_texts", 0) > 0)
    question = QUESTIONS.get(rule, rule)
    if found is None:
        return line(
            "calibration", question, owner, True if looked else None,
            *([facts.shows("calibration", f"no finding of {rule} in {check.samples} samples")] if check and looked else []),
            ask="No sample of traffic was compared with it." if check is not None else "No check of the calibration set is on record.",
            fix="name a sample of traffic in the plan (`calibration: traffic:`), then quantplay check PLAN" if check is not None and not looked else FIX,
        )  # fmt: skip
    return line(
        "calibration", question, owner, False, facts.shows("calibration", f"{found.value} ({found.allowed} allowed)"),
        why=found.what, fix=FIX, waived=found.waiver,
    )  # fmt: skip
