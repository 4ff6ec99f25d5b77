"""One locked package with all that it was made of: decision, signatures, names, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.plays.catalogue import Listed
from quantplay.records import Decision, SignOff
from quantplay.store.aliases import Alias
from quantplay.store.incidents import Learned
from quantplay.store.registry import Store
from quantplay.store.runs import Run


@dataclass(frozen=True, kw_only=True)
class Step:
    """A line of the lineage."""

    what: str
    key: str  # of the record, or content of files
    told: str  # in words


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All that is shown of a package."""

    listed: Listed
    decision: Decision | None
    signoffs: tuple[SignOff, ...]
    names: tuple[Alias, ...]  # that it has or had
    lessons: tuple[Learned, ...]  # from incidents of this plan or model
    lineage: tuple[Step, ...]


def gathered(store: Store, one: Listed) -> Shown:
    entry = one.entry
    package, run = store.get_package(entry.key), store.get_run(entry.run)
    made_of = package.made_of if package is not None else None
    return Shown(
        listed=one,
        decision=store.get_decision(made_of.decision) if made_of is not None else None,
        signoffs=store.signoffs_of(entry.run) if run is not None else (),
        names=store.alias_history(package=entry.key),
        lessons=store.lessons(about=(entry.name, *([entry.base] if entry.base else []))),
        lineage=tuple(lineage_of(store, one, run)),
    )


def lineage_of(store: Store, one: Listed, run: Run | None) -> list[Step]:
    """From the source model to the newest measurement."""
    entry = one.entry
    package = store.get_package(entry.key)
    steps = [Step(what="plan", key=entry.plan, told=f"{entry.name}, profile {entry.profile}")]
    if package is not None and package.made_of is not None:
        for key in package.made_of.inputs:
            manifest = store.get_manifest(key)
            if manifest is not None:
                commit = f" at {manifest.revision[:12]}" if manifest.revision else ""
                steps.append(Step(what=manifest.kind, key=manifest.content, told=f"{manifest.source}{commit}"))
    steps += [
        Step(
            what=play.play, key=play.key,
            told=f"{'found there' if play.reused else f'{play.seconds:,.1f} s'}, {play.started_at.astimezone():%Y-%m-%d %H:%M}",
        )
        for play in (run.plays if run is not None else ())
    ]  # fmt: skip
    if entry.sha256 is not None:
        steps.append(
            Step(
                what="file",
                key=entry.sha256,
                told=f"{entry.format} {entry.type}, {'quantized elsewhere' if entry.method == 'imported' else f'made with {entry.method}'}",
            )
        )
    steps.append(Step(what="manifest", key=entry.manifest, told=entry.path))
    if entry.newest is not None:
        steps.append(
            Step(what="re-validation", key=entry.newest.key, told=f"{entry.newest.status}, {entry.newest.at[:16]}")
        )
    return steps
