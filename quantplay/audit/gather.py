"""From the product database to the facts of one run, package or endpoint. Whatever is not there, or is too old to tell, stays None."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from uuid import UUID

from quantplay.audit.answers import Kind
from quantplay.audit.facts import Facts, Release
from quantplay.errors import InputError, QuantplayError
from quantplay.plan import Plan
from quantplay.records import (
    Artifact,
    Baseline,
    Digest,
    InputKind,
    MadeOf,
    Manifest,
    PackageRef,
    Recipe,
    Record,
    Revalidation,
)
from quantplay.store.events import Event
from quantplay.store.registry import Store
from quantplay.store.revalidations import REVALIDATED
from quantplay.store.runs import Run
from quantplay.store.signoffs import OPENED

R = TypeVar("R", bound=Record)


class Found:
    """Records with their keys, as they are found."""

    def __init__(self, store: Store, run: Run | None, made_of: MadeOf | None) -> None:
        self.store, self.run, self.made_of = store, run, made_of
        self.keys: dict[str, str] = {}

    def of(self, field: str, play: str, get: Callable[[str], R | None]) -> R | None:
        """By what the package was locked with, else the last that the run's `play` left."""
        for key in self.candidates(field, play):
            record = get(key)
            if record is not None:
                self.keys[field] = key
                return record
        return None

    def candidates(self, field: str, play: str) -> list[str]:
        if self.made_of is not None and hasattr(self.made_of, field):
            return [getattr(self.made_of, field)]
        return [one.key for one in reversed(self.run.plays) if one.play == play] if self.run is not None else []

    def under(self, field: str, key: str | None, get: Callable[[str], R | None]) -> R | None:
        """The record under this very key."""
        record = get(key) if key is not None else None
        if record is not None and key is not None:
            self.keys[field] = key
        return record


def gather(store: Store, subject: str, kind: Kind) -> Facts:
    """Everything on record about `subject`: a whole run id, a package's key or manifest, or an endpoint's name.

    Raises InputError where there is no such thing.
    """
    if kind == "endpoint":
        release = release_of(store, subject)
        key, package = package_named(store, release.policy.package)
        return facts_of(store, subject, kind, run_of(store, key, package), key, package, (release,))
    if kind == "package":
        key, package = package_named(store, subject)
        if package is None:
            raise InputError("there is no such package", value=subject, fix="`quantplay registry` lists them")
        return facts_of(store, subject, kind, run_of(store, key, package), key, package)
    run = the_run(store, subject)
    if run is None:
        raise InputError("there is no such run", value=subject, fix="`quantplay show` lists the runs")
    return facts_of(store, subject, kind, run, run.package, store.get_package(run.package) if run.package else None)


def the_run(store: Store, identity: str) -> Run | None:
    try:
        wanted = UUID(identity)
    except ValueError:
        return None
    found = store.get_run(str(wanted))
    return found if found is not None and found.id == wanted else None


def package_named(store: Store, name: str | None) -> tuple[str | None, PackageRef | None]:
    """By its key, or by the digest of its manifest, as a release names it."""
    if name is None:
        return None, None
    if (package := store.get_package(name)) is not None:
        return name, package
    found = next((one for one in store.locked_packages() if one.package.manifest == name), None)
    return (found.key, found.package) if found is not None else (None, None)


def run_of(store: Store, key: str | None, package: PackageRef | None) -> Run | None:
    """The run that wrote the package."""
    return the_run(store, package.run) if key is not None and package is not None else None


def facts_of(
    store: Store, subject: str, kind: Kind, run: Run | None, key: str | None, package: PackageRef | None,
    releases: tuple[Release, ...] = (),
) -> Facts:  # fmt: skip
    made_of = package.made_of if package is not None else None
    found = Found(store, run, made_of)
    listed = next((one for one in store.locked_packages(key) if one.key == key), None) if key is not None else None
    plan = found.under(
        "plan", made_of.plan if made_of else run.plan if run else listed.plan if listed else None, store.get_plan
    )
    artifact = found.of("artifact", "ptq", store.get_artifact)
    recipe = found.under("recipe", artifact.recipe if artifact else None, store.get_recipe)
    baseline = found.of("baseline", "baseline", store.get_baseline)
    made = [one.key for one in run.plays if one.play == "ptq"] if run is not None else []
    tried = [store.get_artifact(one) for one in made]
    events = [event for one in subjects(run, key, releases) for event in store.events(subject=one)]
    opened = next((event.body.get("inputs") for event in events if event.kind == OPENED), None)
    pinned = manifests(store, found, plan, made_of, opened or read_by(recipe, baseline))
    if package is not None and key is not None:
        found.keys["package"] = key
    standing = store.latest_revalidations().get(key) if key is not None else None
    if standing is not None:
        found.keys["standing"] = standing[0]
    if releases:
        found.keys["release"] = f"{releases[0].endpoint} {releases[0].revision}"
    return Facts(
        kind=kind, subject=subject, run=run, plan=plan, package=package, artifact=artifact, recipe=recipe, baseline=baseline,
        tried=tuple(one for one in tried if one is not None), tried_gone=sum(one is None for one in tried), manifests=pinned,
        calibration=found.of("calibration", "calibration", store.get_calibration_check),
        envelope=found.of("envelope", "envelope", store.get_envelope),
        evaluation=found.of("evaluation", "evaluate", store.get_evaluation),
        decision=found.of("decision", "gate", store.get_decision),
        sensitivity=found.of("sensitivity", "sensitivity", store.get_sensitivity),
        mix=found.of("mix", "mix", store.get_mix), training=found.of("training", "training", store.get_training),
        signoffs=store.signoffs_of(run.id) if run is not None else (), locked=listed is not None or (run is not None and run.outcome == "locked"), standing=standing[1] if standing is not None else None,
        pins={sha: reasons for sha in worth_keeping(pinned, baseline) if (reasons := store.pins_of(sha))},
        archived=archived(store, worth_keeping(pinned, baseline), kept_beside(pinned, artifact)), revalidations=tuple(revalidations(store, events)),
        lessons=store.lessons(about=(*([plan.name] if plan else ()), *([baseline.model] if baseline else ()))) if plan or baseline else (),
        incidents=tuple(one for one in store.list_incidents() if one.package in (key, package.manifest if package else None)),
        releases=releases, events=tuple(sorted(events, key=lambda event: event.seq)), keys=found.keys,
    )  # fmt: skip


def subjects(run: Run | None, key: str | None, releases: tuple[Release, ...]) -> list[str]:
    """Of events."""
    return [*([str(run.id)] if run else []), *([key] if key else []), *(one.endpoint for one in releases)]


def manifests(
    store: Store, found: Found, plan: Plan | None, made_of: MadeOf | None, opened: Mapping[InputKind, Digest]
) -> dict[InputKind, Manifest]:
    """Pinned inputs: as the package names them, else by the contents the run was opened with, else by its records."""
    keys = made_of.inputs if made_of is not None else ()
    told = [one for key in keys if (one := store.get_manifest(key)) is not None]
    if not told:
        for kind, content in opened.items():
            same = store.find_manifests(kind, content)
            told += [one for one in same if one.source in sources(plan)][:1] or list(same[:1])
    for manifest in told:
        found.keys[f"manifest.{manifest.kind}"] = manifest.digest()
    return {manifest.kind: manifest for manifest in told}


def read_by(recipe: Recipe | None, baseline: Baseline | None) -> dict[InputKind, Digest]:
    """Contents of inputs by what was made of them."""
    told: dict[InputKind, Digest] = {}
    if recipe is not None:
        told |= {"model": recipe.model, "calibration": recipe.calibration}
    if baseline is not None:
        told |= {"model": baseline.model, "evaluation": baseline.evaluation}
    return told


def sources(plan: Plan | None) -> tuple[str, ...]:
    """Where the plan says that its inputs are."""
    if plan is None:
        return ()
    return (plan.model.source, plan.calibration.file, plan.evaluation.gate, plan.evaluation.heldout)


def worth_keeping(pinned: Mapping[InputKind, Manifest], baseline: Baseline | None) -> tuple[str, ...]:
    """Files of full precision; not a folder's content, which is no file."""
    model = pinned.get("model")
    files = [file.sha256 for file in model.files] if model is not None else []
    served = [baseline.reference.model] if baseline is not None and baseline.reference.model != baseline.model else []
    return tuple(dict.fromkeys([*files, *served]))


def kept_beside(pinned: Mapping[InputKind, Manifest], artifact: Artifact | None) -> tuple[str, ...]:
    """Files that a lock stores with those of full precision."""
    inputs = [file.sha256 for kind, one in pinned.items() if kind != "model" for file in one.files]
    return (*([artifact.sha256] if artifact is not None else []), *inputs)


def archived(store: Store, files: tuple[str, ...], others: tuple[str, ...]) -> Mapping[str, bool] | None:
    """Whether the artifact store has `files`; asked for, never read. None where it does not answer, or is another one: it has none of `others` either."""
    try:
        found = {sha: store.artifacts.exists(sha) for sha in files}
        known = any(found.values()) or any(store.artifacts.exists(sha) for sha in others)
    except QuantplayError:
        return None  # an audit of what is recorded goes on without it
    return found if known else None


def revalidations(store: Store, events: Iterable[Event]) -> Iterator[Revalidation]:
    """In their order."""
    for event in events:
        if event.kind == REVALIDATED and (found := store.get_revalidation(event.body["revalidation"])) is not None:
            yield found


def release_of(store: Store, endpoint: str) -> Release:
    """What is in force at an endpoint, or its newest revision where nothing points at one."""
    traffic = next(iter(store.traffic_policies(endpoint)), None)
    revision = traffic.revision if traffic is not None else newest_revision(store, endpoint)
    said = store.judgements(endpoint, revision, newest=1)
    return Release(
        endpoint=endpoint, revision=revision, policy=store.policy_revision(endpoint, revision), traffic=traffic,
        changes=tuple(one for one in store.traffic_changes(endpoint) if one.revision == revision),
        judgement=read(said[-1]) if said else None,
    )  # fmt: skip


def newest_revision(store: Store, endpoint: str) -> int:
    """Raises InputError where the endpoint has no policy at all."""
    number = 0
    try:
        while True:
            store.policy_revision(endpoint, number + 1)
            number += 1
    except InputError:
        if number == 0:
            raise InputError(
                "there is no such endpoint", value=endpoint, fix="`quantplay traffic` lists them"
            ) from None
    return number


def read(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
