"""What an audit goes by: everything the product database holds about one subject, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantplay.audit.answers import Evidence, Kind
from quantplay.formats import TYPES
from quantplay.plan import Plan
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    Evaluation,
    InputKind,
    Manifest,
    MixChoice,
    PackageRef,
    Recipe,
    Revalidation,
    Role,
    Sensitivity,
    SignOff,
    Training,
)
from quantplay.records.traffic import PolicyRevision, TrafficPolicy
from quantplay.store.events import Event
from quantplay.store.incidents import Incident, Learned
from quantplay.store.runs import Run
from quantplay.store.traffic import Change

EACH_NAMED = "every other matrix: the type that `tensor_types` gives it"
"""What a recipe says that names the type of every matrix (quantizers/recipe.py): a mix of play 5, or what was trained."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One endpoint that a package was released to, as it stands."""

    endpoint: str
    revision: int
    policy: PolicyRevision
    traffic: TrafficPolicy | None  # None: written, and nothing points at it
    changes: tuple[Change, ...] = ()  # of this revision, oldest first
    judgement: Mapping[str, Any] | None = None  # the judge's newest word


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Records as they are; None: there is none. `keys`: name of a field -> its key in the database."""

    kind: Kind
    subject: str
    run: Run | None = None
    plan: Plan | None = None
    manifests: Mapping[InputKind, Manifest] = field(default_factory=dict)
    calibration: CalibrationCheck | None = None
    baseline: Baseline | None = None
    envelope: EnvelopeChoice | None = None
    recipe: Recipe | None = None
    artifact: Artifact | None = None
    tried: tuple[Artifact, ...] = ()  # of the run, in the order they were made
    tried_gone: int = 0  # plays that made one which is not there any more
    evaluation: Evaluation | None = None
    decision: Decision | None = None
    sensitivity: Sensitivity | None = None
    mix: MixChoice | None = None
    training: Training | None = None
    signoffs: tuple[SignOff, ...] = ()
    package: PackageRef | None = None
    locked: bool = False  # a run ended locked with it
    pins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # sha256 -> why it may not be deleted
    archived: Mapping[str, bool] | None = None  # sha256 -> in the artifact store; None: it could not be asked
    standing: Revalidation | None = None  # the newest re-validation
    revalidations: tuple[Revalidation, ...] = ()  # of the package
    incidents: tuple[Incident, ...] = ()
    lessons: tuple[Learned, ...] = ()  # of this model or plan, from any of its packages
    releases: tuple[Release, ...] = ()
    events: tuple[Event, ...] = ()  # of run, package and endpoints, in their order
    keys: Mapping[str, str] = field(default_factory=dict)

    def owner(self, role: Role) -> str:
        """Who answers for it by the plan; the role in words where the plan names nobody."""
        named = getattr(self.plan.owners, role) if self.plan is not None else None
        return named or role.replace("_", " ")

    def shows(self, name: str, said: str) -> Evidence:
        """Evidence from the record in field `name`."""
        return Evidence(record=name, key=self.keys.get(name), said=said)

    def pinned(self, kind: InputKind, said: str) -> Evidence:
        """Evidence from a pinned input."""
        return Evidence(record=f"manifest of the {kind}", key=self.keys.get(f"manifest.{kind}"), said=said)

    def event(self, event: Event, said: str) -> Evidence:
        return Evidence(record="event", key=str(event.seq), said=said)

    def incident(self, one: Incident) -> Evidence:
        state = f"closed by {one.closed_by}: {one.resolution}" if one.closed_at is not None else "open"
        folded = f"; lesson: {one.lesson} ({one.folded_into}: {one.folded_where})" if one.learned else ""
        return Evidence(record="incident", key=str(one.id), said=f"{one.what} ({state}{folded})")

    def waiver(self, *rules: str) -> str | None:
        """The recorded reason for accepting what one of `rules` forbids; a rule that ends in a dot stands for all below it."""
        told = [(one.rule, one.reason) for one in (self.decision.waivers if self.decision else ())]
        told += [(one.rule, one.reason) for one in (self.plan.deviations if self.plan else ())]
        for known, reason in told:
            if any(known == rule or (rule.endswith(".") and known.startswith(rule)) for rule in rules):
                return reason
        return None

    def last(self, kind: str) -> Event | None:
        """The newest event of a kind."""
        return next((one for one in reversed(self.events) if one.kind == kind), None)

    @property
    def profile(self) -> str | None:
        return self.plan.profile if self.plan is not None else self.run.profile if self.run is not None else None

    @property
    def shipped(self) -> bool:
        """Locked, or in front of somebody: what is missing then was skipped, not just not done yet."""
        return self.locked or bool(self.releases)

    @property
    def runtime(self) -> str | None:
        """The serving runtime: of the plan, else as play 2 recorded it."""
        return self.plan.envelope.runtime if self.plan else self.envelope.runtime if self.envelope else None

    @property
    def mixed(self) -> bool:
        """Whether play 5 chose the type of every matrix by what it measured."""
        named = self.recipe is not None and EACH_NAMED in self.recipe.higher_precision
        return self.mix is not None or (named and self.recipe is not None and self.recipe.trained is None)

    @property
    def imported(self) -> bool:
        """Whether it was quantized elsewhere: nobody here knows how, or with which texts."""
        return self.recipe is not None and self.recipe.imported is not None

    @property
    def trained(self) -> bool:
        return self.recipe is not None and self.recipe.trained is not None


def bits_of(kind: str, otherwise: float) -> float:
    """Bits of a weight by a type's name, without its scales."""
    return TYPES[kind].nominal_bits if kind in TYPES else otherwise
