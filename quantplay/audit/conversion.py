"""The conversion: a recipe that says everything, the bytes that it made, and what was spent on bits."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.answers import QUANTIZE_HERE, Answer, line
from quantplay.audit.facts import Facts, bits_of
from quantplay.audit.mistakes.aggressive import signed_case
from quantplay.audit.mistakes.formats import fits_runtime
from quantplay.envelope.fitting import RULE as FORMAT

PLANNED = "the plan names it, with a business case and a plan for training"


def conversion(facts: Facts) -> Iterator[Answer]:
    ml, recipe, artifact = facts.owner("ml_engineer"), facts.recipe, facts.artifact
    made = artifact.recipe == recipe.digest() if artifact is not None and recipe is not None else None
    elsewhere = facts.imported
    yield line(
        "conversion", "Is the recipe recorded that makes these bytes again?", ml, made and not elsewhere,
        *([facts.shows("recipe", f"{recipe.method}, {len(recipe.versions)} versions, seed {recipe.seed}")] if recipe else []),
        why="It was quantized elsewhere and imported." if elsewhere else "The artifact names another recipe.", ask="It takes artifact and recipe to tell.", fix=QUANTIZE_HERE if elsewhere else "quantplay replay PACKAGE",
    )  # fmt: skip
    yield line(
        "conversion", "Does the recipe pin the versions of all that wrote it?", ml, None if recipe is None else bool(recipe.versions),
        *([facts.shows("recipe", ", ".join(f"{name} {said}" for name, said in sorted(recipe.versions.items())[:3]))] if recipe else []),
        why="The recipe names no version.", ask="No recipe is on record.", fix=QUANTIZE_HERE if elsewhere else "quantplay run PLAN",
    )  # fmt: skip
    yield line(
        "conversion", "Does the serving runtime load the format?", ml, fits_runtime(facts),
        *([facts.shows("artifact", f"{artifact.format} for {facts.runtime}")] if artifact else []),
        why=f"{facts.runtime} does not load {artifact.format} there." if artifact else "", fix="quantplay plan PLAN",
        ask="It takes plan and artifact to tell.", waived=facts.waiver(FORMAT),
    )  # fmt: skip
    yield bits(facts)
    yield line(
        "conversion", "Are the weights alone quantized, or 8 bits of both?", ml,
        None if recipe is None else recipe.bits_activations >= 16 or bits_of(recipe.type, recipe.bits_per_weight) >= 8,
        *([facts.shows("recipe", f"{recipe.type}, activations {recipe.bits_activations} bits")] if recipe else []),
        why="Weights below 8 bits and activations below 16 at once.", ask="No recipe is on record.", fix="weights alone first",
    )  # fmt: skip
    yield line(
        "conversion", "Is it recorded which tensors stay above the type?", ml,
        None if recipe is None else bool(recipe.higher_precision or recipe.tensor_types),
        *([facts.shows("recipe", (*recipe.higher_precision, f"{len(recipe.tensor_types)} overrides")[0])] if recipe else []),
        why="The recipe does not say.", ask="No recipe is on record.", fix="quantplay run PLAN",
    )  # fmt: skip
    if facts.trained:
        yield case(facts)


def bits(facts: Facts) -> Answer:
    recipe, plan = facts.recipe, facts.plan
    ml = facts.owner("ml_engineer")
    if recipe is None:
        return line("conversion", "Has it 4 bits or more, or a reason?", ml, None, ask="No recipe is on record.")
    few = bits_of(recipe.type, recipe.bits_per_weight)
    if facts.mixed and facts.artifact is not None:
        few = max(few, facts.artifact.bits_per_weight)
    planned = plan is not None and plan.business_case is not None and plan.training is not None
    shown = facts.shows("recipe", f"{recipe.type}, {few:.3g} bits" + (f"; {PLANNED}" if planned and few < 4 else ""))
    return line(
        "conversion", "Has it 4 bits or more, or a reason?", ml, few >= 4 or planned or facts.trained, shown,
        why=f"{few:.3g} bits without a business case and a plan for training.", fix="start with 4 bits, then quantplay run PLAN",
    )  # fmt: skip


def case(facts: Facts) -> Answer:
    signed = signed_case(facts)
    return line(
        "conversion", "Did the engineering manager sign what training costs?", facts.owner("engineering_manager"),
        None if facts.plan is None else signed is not None,
        *([facts.shows("signoffs", f"{signed.person}, {signed.recorded_at}: {signed.comment or signed.verdict}")] if signed else []),
        why="Nobody signed this business case.", ask="No plan is on record.", fix="quantplay sign RUN --role engineering_manager",
    )  # fmt: skip
