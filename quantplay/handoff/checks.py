"""What must agree inside a package, one function a sentence. To add a check: a function, and its line in `CHECKS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantplay import __version__
from quantplay.calibration import waivers_of
from quantplay.digest import digest_of_file
from quantplay.errors import Fault
from quantplay.handoff import layout
from quantplay.handoff.comparing import differences, same
from quantplay.handoff.contents import Attempt, made_by, read_questions
from quantplay.handoff.further_checks import further_agrees
from quantplay.handoff.gguf_header import metadata_text
from quantplay.handoff.opened import OpenPackage
from quantplay.handoff.summaries import summary_of_baseline, summary_of_evaluation
from quantplay.plan_file import plan_from_text
from quantplay.plays.calibration import MEND, check_pinned
from quantplay.plays.pin import CALIBRATION_FILE, Paths, Pinned
from quantplay.records import CalibrationCheck, Manifest
from quantplay.standards import SPEAKS_FOR

Check = Callable[[OpenPackage], Iterator[Fault]]


def plan_agrees(package: OpenPackage) -> Iterator[Fault]:
    read = plan_from_text(package.plan_text, Path(layout.PLAN_TEXT))
    if read.plan is None:
        yield from read.faults
    else:
        yield from same(
            layout.PLAN_TEXT, "says something else than plan.json", read.plan.digest(), package.plan.digest()
        )
    yield from same(layout.RUN, "names another run than the manifest", package.run["run"], package.manifest.run)


def inputs_agree(package: OpenPackage) -> Iterator[Fault]:
    inputs = package.inputs
    for manifest in inputs.manifests:
        again = Manifest.of(manifest.kind, manifest.source, manifest.files, manifest.revision)
        yield from same(layout.INPUTS, f"{manifest.kind}: digest of the files", manifest.content, again.content)
        if package.carries_sources:
            yield from sources_agree(package.folder / layout.SOURCES / manifest.kind, manifest)
    if package.carries_sources and package.recipe.trained is not None:
        weights, where = package.folder / layout.SOURCES / layout.TRAINED, f"{layout.SOURCES}/{layout.TRAINED}"
        found = digest_of_file(weights) if weights.is_file() else "no such file"
        yield from same(
            where, "is not the file of trained weights that recipe.json names", found, package.recipe.trained
        )
    model, evaluation = inputs.model.content, inputs.evaluation.content
    yield from same(layout.RECIPE, "made from another model", package.recipe.model, model)
    yield from same(
        layout.RECIPE, "made with other calibration data", package.recipe.calibration, inputs.calibration.content
    )
    yield from same(layout.BASELINE, "measured on another model", package.baseline.model, model)
    yield from same(layout.BASELINE, "source arm ran another model", package.baseline.source.model, model)
    yield from same(layout.BASELINE, "measured on another evaluation set", package.baseline.evaluation, evaluation)


def sources_agree(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """The carried files are the pinned ones, all of them and no others."""
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for entry in manifest.files:
        path = present.pop(entry.path, None)
        where = f"{layout.SOURCES}/{manifest.kind}/{entry.path}"
        if path is None:
            yield Fault(where=where, what="pinned by inputs.json, and not here")
        else:
            yield from same(where, "is not the file that inputs.json pins", digest_of_file(path), entry.sha256)
    for name in sorted(present):
        yield Fault(where=f"{layout.SOURCES}/{manifest.kind}/{name}", what="not pinned by inputs.json")


def calibration_agrees(package: OpenPackage) -> Iterator[Fault]:
    """No defect without a waiver of the plan, the decision shows each waiver, and the carried files give these figures."""
    check = package.calibration
    if check is None:
        yield Fault(
            where=layout.CALIBRATION, what="missing, and run.json does not say that the run made no such check",
            fix="ask for the package again",
        )  # fmt: skip
        return
    yield from same(layout.CALIBRATION, "is about another set", check.calibration, package.inputs.calibration.content)
    reasons = {deviation.rule: deviation.reason for deviation in package.plan.deviations}
    for finding in check.findings:
        yield from same(
            layout.CALIBRATION, f"{finding.rule}: accepted for another reason than the plan's", finding.waiver,
            reasons.get(finding.rule),
        )  # fmt: skip
        if finding.waiver is None:
            yield Fault(where=layout.CALIBRATION, what=f"{finding.rule}: a defect that the plan does not accept")
    shown = [waiver for waiver in package.decision.waivers if waiver.rule in MEND]
    yield from same(layout.DECISION, "shows other defects of the calibration set", shown, [*waivers_of(check)])
    if checks_calibration_again(package):
        yield from differences(layout.CALIBRATION, check.body(), checked_again(package).body())


def standards_agree(package: OpenPackage) -> Iterator[Fault]:
    """Each departure from the standards is shown with the reason that the plan gives for it."""
    check = package.decision.standards
    reasons = {deviation.rule: deviation.reason for deviation in package.plan.deviations}
    for one in check.departures if check is not None else ():
        if not one.acceptable or one.reason is None:
            yield Fault(where=layout.DECISION, what=f"{one.rule}: departs from the standards without a reason")
        elif one.reason != (reasons.get(one.rule) or reasons.get(SPEAKS_FOR.get(one.rule, ""))):
            yield Fault(
                where=layout.DECISION, what=f"{one.rule}: departs for another reason than the plan's", value=one.reason
            )


def names_calibration(package: OpenPackage) -> bool:
    """Whether there has to be a check of the calibration set: unless the package says there was none, and nothing in it differs."""
    waived = any(waiver.rule in MEND for waiver in package.decision.waivers)
    return package.calibration is not None or waived or package.run.get(layout.CHECKS_CALIBRATION) is not False


def checks_calibration_again(package: OpenPackage) -> bool:
    """Whether the set is here, and this is the version that checked it: only then the same figures have to come out."""
    return package.carries_sources and package.run["quantplay"] == __version__


def checked_again(package: OpenPackage) -> CalibrationCheck:
    files = package.contents().sources
    paths = Paths(
        model=package.folder / layout.SOURCES / "model",
        calibration=files["calibration"][CALIBRATION_FILE],
        gate=files["evaluation"]["gate.jsonl"],
        dev=files["evaluation"]["dev.jsonl"],
        heldout=files["heldout"]["heldout.jsonl"],
        traffic=files["traffic"]["traffic.jsonl"] if "traffic" in files else None,
        tasks=(),
        allow_code=(),
    )
    return check_pinned(package.plan, Pinned(inputs=package.inputs, paths=paths))


def artifact_agrees(package: OpenPackage) -> Iterator[Fault]:
    artifact, recipe = package.artifact, package.recipe.digest()
    where = f"{layout.ARTIFACT_FOLDER}/{artifact.file_name}"
    yield from same(layout.ARTIFACT, "made by another recipe", artifact.recipe, recipe)
    if "/" in artifact.file_name or not package.artifact_path.is_file():
        yield Fault(where=where, what="missing")
        return
    yield from same(where, "has another size than recorded", package.artifact_path.stat().st_size, artifact.size_bytes)
    yield from same(where, "is not the recorded file", digest_of_file(package.artifact_path), artifact.sha256)
    yield from same(
        layout.RECIPE, "names another imported artifact than the plan", package.recipe.imported, package.plan.imported
    )
    if package.recipe.imported is not None:
        from quantplay.quantizers.imported_check import imported_faults

        for fault in imported_faults(package.recipe, artifact, package.artifact_path):
            yield replace(fault, where=f"{where}: {fault.where}")
    elif artifact.format == "gguf":
        from quantplay.quantizers.gguf import RECIPE_KEY
        from quantplay.quantizers.overrides import undocumented_overrides

        found = metadata_text(package.artifact_path, RECIPE_KEY)
        yield from same(where, f"{RECIPE_KEY} in its metadata names another recipe", found, recipe)
        for fault in undocumented_overrides(package.recipe, package.artifact_path):
            yield replace(fault, where=f"{where}: {fault.where}")
    else:
        from quantplay.quantizers.folder_check import folder_faults

        for fault in folder_faults(package.recipe, artifact, package.artifact_path):
            yield replace(fault, where=f"{where}: {fault.where}")


def results_agree(package: OpenPackage) -> Iterator[Fault]:
    """Digests and means in baseline.json and evaluation.json are those of the items."""
    again = {
        layout.BASELINE: (package.baseline_file, summary_of_baseline(package.baseline, package.baseline_key)),
        layout.EVALUATION: (package.evaluation_file, summary_of_evaluation(package.evaluation)),
    }
    for name, (found, wanted) in again.items():
        yield from differences(name, found, wanted)
    hardest = frozenset(package.baseline.hardest)
    if package.items.hardest != hardest:
        yield Fault(where=layout.ITEMS, what="marks other items as hardest than baseline.json does")
    gate = package.folder / layout.SOURCES / "evaluation" / "gate.jsonl"
    if package.carries_sources and gate.is_file():
        asked = package.items.asked
        wrong = [key for key, item in read_questions(gate).items() if asked.get(key) != (item.prompt, item.answer)]
        if wrong:
            yield Fault(
                where=layout.ITEMS, what="asks something else than the evaluation set", value=", ".join(wrong[:5])
            )


def chain_holds(package: OpenPackage) -> Iterator[Fault]:
    evaluation, decision = package.evaluation, package.decision
    yield from same(layout.EVALUATION, "compares with another baseline", evaluation.baseline, package.baseline_key)
    yield from same(layout.EVALUATION, "is of another artifact", evaluation.artifact, package.artifact.sha256)
    yield from same(layout.EVALUATION, "used another harness", evaluation.harness, package.baseline.harness)
    yield from same(layout.DECISION, "applied another gate than the plan's", decision.gate, package.plan.gate_digest())
    yield from same(layout.DECISION, "is about another evaluation", decision.evaluation, evaluation.digest())
    last = Attempt.of(package.artifact, evaluation, decision)
    older = {"made": "", "performance": None}  # what packages older than these fields do not say
    found = next(
        (one for one in package.attempts if one.model_copy(update=older) == last.model_copy(update=older)), None
    )
    if found is None:
        yield Fault(where=layout.ATTEMPTS, what="the decision is not among the attempts")
    elif found.made:  # packages older than the field say nothing
        yield from same(
            layout.ATTEMPTS, "says otherwise how the artifact was made", found.made, made_by(package.recipe)
        )
    if found is not None and found.performance not in (None, last.performance):
        yield Fault(where=layout.ATTEMPTS, what="tells of another speed or memory than the evaluation")
    yield from same(layout.DECISION, "a package needs a pass", decision.verdict, "pass")
    yield from same(layout.DECISION, "a package needs its envelope met", decision.envelope_met, True)
    yield from same(layout.PLAN, "an explore run has no package", package.plan.profile == "explore", False)


def update_agrees(package: OpenPackage) -> Iterator[Fault]:
    """update.json is there where the plan names a run to update, is about that run, and tells what this decision gates."""
    update, named = package.update, package.plan.updates
    yield from same(layout.UPDATE, "is about another run than the plan updates", update.run if update else None, named)
    if update is not None:
        gated = sorted((one.slice, one.metric) for one in package.decision.slices)
        yield from same(
            layout.UPDATE, "tells of other slices", sorted((one.slice, one.metric) for one in update.slices), gated
        )
        if update.model == package.inputs.model.content:
            yield Fault(where=layout.UPDATE, what="updates a run of the very same model", value=update.model)


def decision_follows(package: OpenPackage) -> Iterator[Fault]:
    """The gate applied once more to the items gives the same verdict and numbers."""
    from quantplay.gate import decide

    titles = {name: info.title for name, info in package.plan.evaluation.slices.items()}
    again = decide(
        package.plan.gate, package.baseline, package.evaluation, envelope=package.plan.envelope,
        artifact=package.artifact, attempt=package.decision.attempt, titles=titles,
        changes=package.decision.gate_changes, waivers=package.decision.waivers, standards=package.decision.standards,
    )  # fmt: skip
    if package.decision.target is None:  # decided by a version that did not ask
        again = again.model_copy(update={"target": None})
    yield from differences(layout.DECISION, in_one_order(package.decision.body()), in_one_order(again.body()))


def in_one_order(decision: dict[str, Any]) -> dict[str, Any]:
    """The slices by name: plan.json does not keep the order in which the plan lists them."""
    return decision | {"slices": sorted(decision["slices"], key=lambda one: (one["slice"], one["metric"]))}


def texts_follow(package: OpenPackage) -> Iterator[Fault]:
    """Report, README and model card say what the records say: written again, they come out the same."""
    if package.run["quantplay"] != __version__:
        return
    from quantplay.handoff.card import render_card
    from quantplay.handoff.readme import render_readme
    from quantplay.handoff.report import render_report

    contents = package.contents()
    again = {
        layout.REPORT: render_report(contents.results()),
        layout.README: render_readme(contents),
        layout.CARD: render_card(contents),
    }
    for name, text in again.items():
        if (package.folder / name).read_bytes() != text.encode():
            yield Fault(where=name, what="does not say what the records say", fix="trust the records, not this text")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("plan.yaml and plan.json say the same", plan_agrees),
    ("model, calibration, evaluation and held-out files are the pinned ones", inputs_agree),
    ("the calibration set has no defect but those the plan accepts, and the decision shows them", calibration_agrees),
    ("where the plan departs from the standards, it says why", standards_agree),
    ("the artifact is the recorded file, and its own metadata names this recipe", artifact_agrees),
    ("means and digests in baseline.json and evaluation.json follow from items.parquet", results_agree),
    ("baseline, recipe, artifact, evaluation, gate and decision name each other", chain_holds),
    ("the numbers of the run that is updated are here, slice by slice", update_agrees),
    ("types of single tensors and trained weights are those that plays 5 and 6 ended in", further_agrees),
    ("the gate, applied once more to items.parquet, gives this decision", decision_follows),
    ("report, README and model card say what the records say", texts_follow),
)
"""What holds when the check finds nothing -> the check."""
