"""Generic calibration: what steered the quantizer is not what the model is asked."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.facts import Facts
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.audit.names import CORPORA, named_in
from quantplay.formats import TYPES

TELLING = ("calibration.domain", "calibration.overlap")
"""Waived defects that make a set generic, or no test of the model. The others (count, variety ...) are lines of the checklist."""
FIX = "build the set from your own traffic (docs/calibration.md), then quantplay run PLAN"


def uses_calibration(facts: Facts) -> bool | None:
    """Whether the texts steered this artifact; None where no recipe tells."""
    recipe = facts.recipe
    if recipe is None or facts.imported:
        return None
    return recipe.importance_matrix if recipe.format == "gguf" else recipe.type not in ("FP8_DYNAMIC", "BNB_INT8")


def signs(facts: Facts) -> Iterator[Sign]:
    recipe = facts.recipe
    if facts.imported:
        return
    if recipe is not None:
        kind = TYPES.get(recipe.type)
        needs = kind is not None and kind.needs_importance_matrix and not recipe.importance_matrix
        blind = recipe.format != "gguf" and uses_calibration(facts) and recipe.calibration_samples == 0
        if needs or blind or (recipe.format == "gguf" and recipe.importance_matrix and recipe.calibration_samples == 0):
            yield Sign(
                why=f"{recipe.type} was made with {recipe.calibration_samples} calibration samples and "
                f"{'an' if recipe.importance_matrix else 'no'} importance matrix, and it can't do without calibration.",
                evidence=(facts.shows("recipe", f"{recipe.type}, {recipe.calibration_samples} samples"),), fix=FIX,
            )  # fmt: skip
            return
    if uses_calibration(facts) is False:
        return
    yield from where_it_is_from(facts)
    yield from what_it_is_like(facts)


def where_it_is_from(facts: Facts) -> Iterator[Sign]:
    """Public texts, the evaluation's own, or another set than the pinned one."""
    own = facts.manifests.get("calibration")
    texts = [facts.plan.calibration.file] if facts.plan is not None else []
    if own is not None:
        texts += [own.source, *(file.path for file in own.files)]
    if known := named_in(texts, CORPORA):
        yield Sign(
            why=f"The calibration set is public text by its name: {known} ({', '.join(dict.fromkeys(texts))}).", fix=FIX,
            evidence=(facts.pinned("calibration", f"from {texts[-1]}"),), waived=facts.waiver("calibration.domain"),
        )  # fmt: skip
    if own is None:
        return
    asked = facts.manifests.get("evaluation")
    shared = {file.sha256 for file in own.files} & {file.sha256 for file in asked.files} if asked is not None else set()
    if shared:
        yield Sign(
            why=f"A file of the calibration set is one of the evaluation set ({min(shared)[:12]}): the test was seen before.", fix=FIX,
            evidence=(facts.pinned("calibration", f"it and the evaluation share {min(shared)[:12]}"),),
            waived=facts.waiver("calibration.overlap"),
        )  # fmt: skip
    if facts.recipe is not None and facts.recipe.calibration != own.content:
        yield Sign(
            why=f"The quantizer read the set {facts.recipe.calibration[:12]}, and {own.content[:12]} is the one that was pinned.", fix=FIX,
            evidence=(facts.shows("recipe", f"calibration {facts.recipe.calibration[:12]}"),),
        )  # fmt: skip


def what_it_is_like(facts: Facts) -> Iterator[Sign]:
    """By the recorded check."""
    check = facts.calibration
    if check is None:
        for one in facts.decision.waivers if facts.decision is not None else ():
            if one.rule in TELLING:
                shown = (facts.shows("decision", f"{one.rule} waived"),)
                yield Sign(why=f"{one.what.rstrip('.')}.", fix=FIX, waived=one.reason, evidence=shown)
        return
    for found in check.findings:
        if found.waiver is None or found.rule in TELLING:
            yield Sign(
                why=f"{found.what.rstrip('.')}: {found.value} ({found.allowed} allowed).", fix=FIX, waived=found.waiver,
                evidence=(facts.shows("calibration", f"{found.rule}: {found.value}"),),
            )  # fmt: skip
    apart, limit = check.figures.get("divergence_bits"), check.figures.get("divergence_limit_bits")
    if (
        apart is not None
        and limit is not None
        and apart > limit
        and not any(f.rule == TELLING[0] for f in check.findings)
    ):
        yield Sign(
            why=f"The samples are unlike the traffic: {apart:.3f} bits apart, and {limit:.3f} are allowed.", fix=FIX,
            evidence=(facts.shows("calibration", f"divergence {apart:.3f} bits"),), waived=facts.waiver("calibration.domain"),
        )  # fmt: skip
    overlaps = {name: value for name, value in check.figures.items() if name.startswith("overlap_") and value > 0}
    if overlaps and not any(found.rule == TELLING[1] for found in check.findings):
        told = ", ".join(f"{value:g} of {name.removeprefix('overlap_')}" for name, value in overlaps.items())
        yield Sign(
            why=f"Calibration samples hold what is asked later: {told}.", fix=FIX, waived=facts.waiver("calibration.overlap"),
            evidence=(facts.shows("calibration", told),),
        )  # fmt: skip
    if facts.recipe is not None and check.calibration != facts.recipe.calibration:
        yield Sign(
            why=f"The set {check.calibration[:12]} was checked, and the quantizer read {facts.recipe.calibration[:12]}.", fix=FIX,
            evidence=(facts.shows("calibration", f"of {check.calibration[:12]}"),),
        )  # fmt: skip


def no_traffic(facts: Facts) -> str | None:
    """Why it can't be said that the set is in-domain."""
    check = facts.calibration
    if uses_calibration(facts) is False or (check is not None and check.figures.get("traffic_texts", 0) > 0):
        return None
    return "No sample of traffic was pinned to compare with: `calibration.traffic` in the plan, then quantplay run PLAN, would tell."


GENERIC_CALIBRATION = Classic(
    name="generic_calibration", question="Was it calibrated on what it is asked?", owner="ml_engineer", signs=signs, also=no_traffic,
    needs=lambda facts: ("plan", "recipe", "calibration", "manifests"),
)  # fmt: skip
