"""The fingerprint of the calibration set a package was made with: found once, then kept as an event of the package."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from quantplay.digest import digest_of_file
from quantplay.errors import IntegrityError, ServiceUnavailable
from quantplay.evalset import read_texts
from quantplay.handoff import layout
from quantplay.live.drift.features import of_text
from quantplay.live.drift.fingerprint import Fingerprint, fingerprint_of
from quantplay.records import Digest, Inputs, Manifest
from quantplay.store.registry import Store
from quantplay.store.revalidations import LockedPackage
from quantplay.store.signoffs import OPENED

KEPT = "calibration.fingerprint"  # kind of event
ACTOR = "quantplay"


def calibration_fingerprint(store: Store, package: Digest, folder: Path | None = None) -> Fingerprint | None:
    """Of the package with this manifest; None where its calibration set can't be found (any more).

    folder: the unpacked package, where there is one. The set is looked for in the package's sources, in the artifact store and where
    the run's plan names it, and taken only with the digest that the run pinned.
    """
    if kept := store.events(kind=KEPT, subject=package):
        return Fingerprint.model_validate(kept[-1].body["fingerprint"])
    locked = next((one for one in store.locked_packages() if one.package.manifest == package), None)
    pinned = pinned_in(folder) if folder is not None else pinned_by(store, locked) if locked is not None else None
    if pinned is None:
        return None
    (entry,) = pinned.manifest.files
    with TemporaryDirectory() as scratch:
        for path in places(store, locked, folder, pinned.manifest, Path(scratch)):
            with contextlib.suppress(OSError):  # not there, or not ours to read
                if digest_of_file(path) == entry.sha256:
                    found = fingerprint_of(of_text(sample.text) for sample in read_texts(path)[: pinned.samples])
                    body = {"calibration": pinned.manifest.content, "fingerprint": found.body()}
                    store.append_event(ACTOR, KEPT, package, body)
                    return found
    return None


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A calibration set as its run pinned it."""

    manifest: Manifest
    samples: int  # that were used, from its beginning


def pinned_in(folder: Path) -> Pinned:
    inputs = Inputs.model_validate_json((folder / layout.INPUTS).read_bytes())
    plan = json.loads((folder / layout.PLAN).read_bytes())
    return Pinned(manifest=inputs.calibration, samples=plan["calibration"]["samples"])


def pinned_by(store: Store, locked: LockedPackage) -> Pinned | None:
    if locked.package.made_of is None:
        return None
    plan = store.get_plan(locked.package.made_of.plan)
    inputs = [store.get_manifest(key) for key in locked.package.made_of.inputs]
    found = [one for one in inputs if one is not None and one.kind == "calibration"]
    return Pinned(manifest=found[0], samples=plan.calibration.samples) if found and plan is not None else None


def places(
    store: Store, locked: LockedPackage | None, folder: Path | None, pinned: Manifest, scratch: Path
) -> Iterator[Path]:  # fmt: skip
    """Where the one file of the set may lie."""
    (entry,) = pinned.files
    inside = Path(layout.SOURCES, "calibration", entry.path)
    if folder is not None:
        yield folder / inside
    with contextlib.suppress(IntegrityError, ServiceUnavailable):
        yield store.artifacts.get(entry.sha256, scratch / "calibration.jsonl")
    if locked is not None:
        yield Path(locked.package.path) / inside
        for opened in store.events(kind=OPENED, subject=locked.package.run):
            if opened.body.get("plan_path"):
                yield Path(opened.body["plan_path"]).parent / pinned.source
