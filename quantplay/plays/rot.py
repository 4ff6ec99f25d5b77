"""Ways in which a workflow rots unseen, each looked for before a verdict: other calibration data than the recipe's, another
harness than the baseline's, an override that no recipe names. (The fourth, a loosened gate, is gate/erosion.py's.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantplay.errors import Fault, IntegrityError
from quantplay.records import Artifact, Baseline, Digest, Evaluation, Inputs, Recipe


def require_sound(
    *,
    inputs: Inputs,
    harness: Digest,
    baseline: Baseline,
    recipe: Recipe,
    artifact: Artifact,
    artifact_file: Path,
    baseline_key: Digest | None = None,
    evaluation: Evaluation | None = None,
) -> None:
    """Raise IntegrityError with everything that does not belong together. `harness` is the digest of the one in use now."""
    faults = [
        *calibration_drift(inputs, recipe),
        *other_baseline(inputs, baseline, baseline_key, evaluation),
        *harness_divergence(harness, baseline, evaluation),
        *undocumented(recipe, artifact, artifact_file),
    ]
    if faults:
        raise IntegrityError("what was measured is not what was written down", faults=faults)


def calibration_drift(inputs: Inputs, recipe: Recipe) -> Iterator[Fault]:
    for what, found, wanted in (
        ("calibration", inputs.calibration.content, recipe.calibration),
        ("model", inputs.model.content, recipe.model),
    ):
        if found != wanted:
            yield Fault(
                where=f"{what} drift",
                what=f"the artifact was made with another {what} than this run pinned",
                value=f"pinned {found}",
                allowed=f"the recipe's {wanted}",
                fix="restore the file the recipe names, or run the plan again so that the artifact is made anew",
            )


def other_baseline(
    inputs: Inputs, baseline: Baseline, key: Digest | None, evaluation: Evaluation | None
) -> Iterator[Fault]:
    if baseline.model != inputs.model.content:
        yield Fault(
            where="baseline", what="it was measured on another model than this run pinned", value=baseline.model,
            allowed=inputs.model.content, fix="run the plan again",
        )  # fmt: skip
    if evaluation is not None and key is not None and evaluation.baseline != key:
        yield Fault(
            where="evaluation", what="it was compared with another baseline than this run's", value=evaluation.baseline,
            allowed=key, fix="run the plan again",
        )  # fmt: skip


def harness_divergence(harness: Digest, baseline: Baseline, evaluation: Evaluation | None) -> Iterator[Fault]:
    found = {"the harness in use": harness}
    if evaluation is not None:
        found["the evaluation's harness"] = evaluation.harness
    for name, digest in found.items():
        if digest != baseline.harness:
            yield Fault(
                where="harness divergence",
                what=f"{name} is not the one the baseline was measured with",
                value=digest,
                allowed=baseline.harness,
                fix="run the plan again: with another harness the baseline is measured again too",
            )


def undocumented(recipe: Recipe, artifact: Artifact, file: Path) -> Iterator[Fault]:
    if artifact.recipe != recipe.digest():
        yield Fault(
            where="undocumented override",
            what="the artifact was made by another recipe",
            value=artifact.recipe,
            allowed=recipe.digest(),
        )
    if recipe.imported is not None:
        from quantplay.quantizers.imported_check import imported_faults

        yield from imported_faults(recipe, artifact, file)
    elif recipe.format == "gguf":
        from quantplay.quantizers.overrides import undocumented_overrides

        for fault in undocumented_overrides(recipe, file):
            yield Fault(
                where=f"undocumented override: {fault.where}",
                what=fault.what, value=fault.value, allowed=fault.allowed, fix=fault.fix,
            )  # fmt: skip
    else:
        from quantplay.quantizers.folder_check import folder_faults

        for fault in folder_faults(recipe, artifact, file):
            yield Fault(
                where=f"undocumented override: {fault.where}", what=fault.what, value=fault.value, allowed=fault.allowed,
                fix="make the artifact again from the recipe",
            )  # fmt: skip
