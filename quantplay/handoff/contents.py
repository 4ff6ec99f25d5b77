"""What the hand-off is made of: everything a run left behind, or as much of it as there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from quantplay.evalset import read_items
from quantplay.plan import Plan
from quantplay.plays.funnel import Stage, left_at
from quantplay.records import (
    ArmRun,
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    Digest,
    Divergence,
    EnvelopeChoice,
    Evaluation,
    InputKind,
    Inputs,
    MixChoice,
    Performance,
    Recipe,
    Recommendation,
    Record,
    Sensitivity,
    Training,
    Update,
)

CARRIED_MODEL_BYTES = 64 << 20
"""A package carries its sources up to this size of the full-precision model; above it, their manifests alone."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an item asked. Both are None for an item of the team's own task files."""

    prompt: str | None
    answer: str | None  # expected


Questions = Mapping[str, Question]
"""Item id -> what was asked and expected."""
SourceFiles = Mapping[InputKind, Mapping[str, Path]]
"""Kind of input -> name inside its manifest -> where the file lies now."""


class SliceScore(Record):
    items: int
    mean: float  # in [0, 1]


class Attempt(Record):
    """One candidate that went through the gate."""

    later = frozenset({"made", "performance"})

    artifact: Digest  # sha256 of the file
    type: str
    size_bytes: int
    evaluation: Digest
    scores: dict[str, SliceScore]
    divergence: Divergence
    decision: Decision
    made: str = ""  # how, where not with one type of the format: `mixed precision` or `trained`
    performance: Performance | None = None

    @classmethod
    def of(cls, artifact: Artifact, evaluation: Evaluation, decision: Decision, recipe: Recipe | None = None) -> Self:
        return cls(
            artifact=artifact.sha256,
            type=artifact.type,
            size_bytes=artifact.size_bytes,
            evaluation=evaluation.digest(),
            scores=mean_scores(evaluation.candidate),
            divergence=evaluation.divergence,
            decision=decision,
            made=made_by(recipe) if recipe is not None else "",
            performance=evaluation.performance,
        )


def made_by(recipe: Recipe) -> str:
    """What an artifact's type does not say: that plays 5 or 6 made it, or nobody here."""
    return (
        "imported"
        if recipe.imported
        else "trained"
        if recipe.trained
        else "mixed precision"
        if recipe.tensor_types
        else ""
    )


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """What there is of a run, whether it reached the lock or not. Enough for a report."""

    run: str
    plan: Plan
    outcome: str | None = None  # name in quantplay.outcomes; None while the run goes on
    inputs: Inputs | None = None
    baseline: Baseline | None = None
    envelope: EnvelopeChoice | None = None
    recipe: Recipe | None = None
    artifact: Artifact | None = None
    evaluation: Evaluation | None = None
    decision: Decision | None = None
    attempts: tuple[Attempt, ...] = ()  # every look at the gate split, the one above included
    questions: Questions = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # play -> wall time; only plays that really ran
    calibration: CalibrationCheck | None = None
    update: Update | None = None  # the run this one updates
    sensitivity: Sensitivity | None = None  # play 5, where it was tried
    mix: MixChoice | None = None
    training: Training | None = None  # play 6, likewise
    recommendations: tuple[Recommendation, ...] = ()  # where the run stopped short

    @property
    def left_at(self) -> Stage:
        """The play whose result ends the run."""
        return left_at(
            artifact=self.artifact is not None, mixed=self.mix is not None, trained=self.training is not None
        )


@dataclass(frozen=True, kw_only=True)
class PackageContents:
    """All that goes into a hand-off package. Equal contents give equal bytes."""

    run: str
    plan: Plan
    plan_text: str  # the YAML file as the team wrote it
    inputs: Inputs
    baseline: Baseline
    baseline_key: Digest  # what `evaluation.baseline` names
    envelope: EnvelopeChoice
    recipe: Recipe
    artifact: Artifact
    artifact_file: Path
    evaluation: Evaluation
    decision: Decision
    attempts: tuple[Attempt, ...]
    environment: tuple[str, ...]  # name==version of every installed distribution
    sources: SourceFiles
    questions: Questions
    seconds: Mapping[str, float]  # play -> wall time; only plays that really ran
    locked_at: str  # ISO 8601 with time zone; with `seconds` the only times of a package, both in run.json
    calibration: CalibrationCheck | None = None  # None in packages older than the check
    update: Update | None = None  # the run this one updates
    sensitivity: Sensitivity | None = None  # play 5, where it made the artifact or came before play 6
    mix: MixChoice | None = None
    training: Training | None = None  # play 6, where it made the artifact
    trained_weights: Path | None = None  # the master weights the artifact is rounded from

    @property
    def carries_sources(self) -> bool:
        return self.inputs.model.size_bytes <= CARRIED_MODEL_BYTES

    def results(self) -> RunResults:
        """What the package's report is made from: neither the run's id nor its times, which are in run.json alone."""
        return RunResults(
            run="", plan=self.plan, outcome="locked", inputs=self.inputs, baseline=self.baseline,
            envelope=self.envelope, recipe=self.recipe, artifact=self.artifact, evaluation=self.evaluation,
            decision=self.decision, attempts=self.attempts, questions=self.questions,
            calibration=self.calibration, update=self.update, sensitivity=self.sensitivity, mix=self.mix,
            training=self.training,
        )  # fmt: skip


def mean_scores(arm: ArmRun) -> dict[str, SliceScore]:
    """A slice: number of items and mean score."""
    counts: dict[str, int] = {}
    for item in arm.items:
        counts[item.slice] = counts.get(item.slice, 0) + 1
    return {name: SliceScore(items=counts[name], mean=mean) for name, mean in arm.scores().items()}


def read_questions(path: Path) -> Questions:
    """What was asked and expected, from an evaluation file. Raises InputError where it can't be read."""
    return {item.id: Question(prompt=item.prompt, answer=item.answer) for item in read_items(path)}


def source_files(
    inputs: Inputs,
    *,
    model: Path,
    calibration: Mapping[str, Path],
    evaluation: Mapping[str, Path],
    heldout: Mapping[str, Path],
    traffic: Mapping[str, Path] | None = None,
    training: Mapping[str, Path] | None = None,
) -> SourceFiles:
    """Where every pinned file lies; `model` is the folder of the weights, the others map manifest names to files."""
    known: dict[InputKind, Mapping[str, Path]] = {
        "model": {file.path: model / file.path for file in inputs.model.files},
        "calibration": dict(calibration),
        "evaluation": dict(evaluation),
        "heldout": dict(heldout),
    }
    if traffic:
        known["traffic"] = dict(traffic)
    if training:
        known["training"] = dict(training)
    return known


def installed_distributions() -> tuple[str, ...]:
    """The environment lock: `name==version` of every installed distribution, sorted."""
    from importlib.metadata import distributions

    found = {str(one.metadata["Name"]).lower().replace("_", "-"): one.version for one in distributions()}
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))
