"""Write the hand-off package: a folder and a .tar, whole or not at all, the same bytes for the same contents.

Everything is written into a hidden folder beside the destination, flushed to the disk and renamed. Bytes that come from elsewhere
(artifact, sources) are digested on the way in and must be what the records say.
"""

from __future__ import annotations

import errno
import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from quantplay import __version__
from quantplay.digest import digest_of_file
from quantplay.engines.tarball import write_tar
from quantplay.engines.whole_file import flush, out_of_space, require_space, unwritable
from quantplay.errors import Fault, IntegrityError
from quantplay.handoff import layout
from quantplay.handoff.card import render_card
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.items_file import write_items
from quantplay.handoff.manifest import PackageManifest, compare, manifest_of, read_manifest
from quantplay.handoff.readme import render_readme
from quantplay.handoff.report import render_report
from quantplay.handoff.summaries import summary_of_baseline, summary_of_evaluation
from quantplay.records import FileEntry, PackageRef

RECORDS_BYTES = 64 << 20  # room for everything beside artifact and sources


def write_package(contents: PackageContents, destination: Path) -> PackageRef:
    """Write the package to the folder `destination` and to `destination`.tar.

    A package of the same plan, records and files that is already there stays as it is, and is the answer: a lock that was
    interrupted can be done again. A different one raises IntegrityError: a hand-off is never overwritten. Raises IntegrityError too
    where artifact or sources are not the recorded bytes, and OutOfSpace on a full disk; nothing partial is left behind.
    """
    require_consistent(contents)
    archive = destination.with_name(f"{destination.name}.tar")
    with staging(destination, needed_bytes=size_of(contents)) as partial:
        folder, tar = partial / "folder", partial / "tar"
        folder.mkdir()
        write_files(contents, folder)
        manifest = manifest_of(folder, contents.run)
        (folder / layout.MANIFEST).write_bytes(manifest.to_bytes())
        there = same_package(destination, manifest)
        write_tar(destination if there else folder, tar, destination.name)
        flush(tar)
        if there is None:
            flush_tree(folder)
            folder.rename(destination)
        tar.replace(archive)
        flush(destination.parent)
    final = there or manifest
    return PackageRef(
        run=final.run,
        path=str(destination),
        manifest=final.file_digest(),
        archive=str(archive),
        size_bytes=final.size_bytes,
    )


@contextmanager
def staging(destination: Path, needed_bytes: int) -> Iterator[Path]:
    """A hidden folder beside `destination`, gone at the end."""
    require_space(destination, needed_bytes)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for leftover in destination.parent.glob(f".{glob.escape(destination.name)}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed: one at a time writes a package
        partial = Path(mkdtemp(prefix=f".{destination.name}.", suffix=".partial", dir=destination.parent))
    except OSError as error:
        raise unwritable(destination, error) from error
    try:
        yield partial
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise out_of_space(destination) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def size_of(contents: PackageContents) -> int:
    """About what folder and archive need together, in bytes."""
    carried = sum(part.size_bytes for part in contents.inputs.manifests) if contents.carries_sources else 0
    weights = contents.trained_weights.stat().st_size if contents.trained_weights and contents.carries_sources else 0
    return 2 * (contents.artifact.size_bytes + carried + weights + RECORDS_BYTES)


def write_files(contents: PackageContents, folder: Path) -> None:
    """Every file of the package but its manifest."""
    for name, body in records_of(contents).items():
        (folder / name).write_bytes(layout.json_bytes(body))
    (folder / layout.PLAN_TEXT).write_bytes(contents.plan_text.encode())
    (folder / layout.ENVIRONMENT).write_bytes("".join(f"{line}\n" for line in contents.environment).encode())
    write_items(folder / layout.ITEMS, contents.baseline, contents.evaluation, contents.questions)
    (folder / layout.REPORT).write_bytes(render_report(contents.results()).encode())
    (folder / layout.CARD).write_bytes(render_card(contents).encode())
    (folder / layout.README).write_bytes(render_readme(contents).encode())
    artifact = contents.artifact
    copy_checked(
        contents.artifact_file, folder / layout.ARTIFACT_FOLDER / artifact.file_name, artifact.sha256, "the artifact"
    )
    if contents.carries_sources:
        copy_sources(contents, folder / layout.SOURCES)
        if contents.recipe.trained is not None:
            assert contents.trained_weights is not None
            target = folder / layout.SOURCES / layout.TRAINED
            copy_checked(contents.trained_weights, target, contents.recipe.trained, "the trained weights' file")


def records_of(contents: PackageContents) -> dict[str, Any]:
    """File name -> JSON-safe body of every record."""
    some = {
        layout.CALIBRATION: contents.calibration, layout.UPDATE: contents.update, layout.SENSITIVITY: contents.sensitivity,
        layout.MIX: contents.mix, layout.TRAINING: contents.training,
    }  # fmt: skip
    return {name: record.body() for name, record in some.items() if record is not None} | {
        layout.PLAN: contents.plan.body(),
        layout.INPUTS: contents.inputs.body(),
        layout.BASELINE: summary_of_baseline(contents.baseline, contents.baseline_key),
        layout.ENVELOPE: contents.envelope.body(),
        layout.RECIPE: contents.recipe.body(),
        layout.ARTIFACT: contents.artifact.body(),
        layout.EVALUATION: summary_of_evaluation(contents.evaluation),
        layout.DECISION: contents.decision.body(),
        layout.ATTEMPTS: [attempt.body() for attempt in contents.attempts],
        layout.RUN: {
            "run": contents.run,
            "quantplay": __version__,
            "locked_at": contents.locked_at,
            "seconds": dict(contents.seconds),
            "plan": contents.plan.digest(),
            "carries_sources": contents.carries_sources,
            layout.CHECKS_CALIBRATION: contents.calibration is not None,
        },
    }


def copy_sources(contents: PackageContents, folder: Path) -> None:
    """Copy every pinned file to `folder`/KIND/NAME."""
    for manifest in contents.inputs.manifests:
        files = contents.sources[manifest.kind]
        for entry in manifest.files:
            target = folder / manifest.kind / entry.path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise IntegrityError("a pinned file's name leaves its folder", value=entry.path)
            copy_checked(files[entry.path], target, entry.sha256, f"{manifest.kind} file {entry.path}")


def copy_checked(source: Path, target: Path, sha256: str, what: str) -> None:
    """Copy a file and make sure that what arrived is what the records say."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise IntegrityError(f"{what} is gone", value=source, fix="restore the file and run again") from error
    found = digest_of_file(target)
    if found != sha256:
        raise IntegrityError(
            f"{what} is not what the run recorded",
            value=f"{source}: sha256 {found}",
            allowed=f"sha256 {sha256}",
            fix="restore the file and run again",
        )


def flush_tree(folder: Path) -> None:
    """Have every file and folder below on the disk before the rename makes it visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
        flush(path)
    folder.chmod(0o755)
    flush(folder)


def same_package(destination: Path, manifest: PackageManifest) -> PackageManifest | None:
    """Manifest of the package at `destination` when it differs in nothing but run.json; None where there is none.

    Raises IntegrityError where it is another package, a damaged one, or something else.
    """
    if not destination.exists():
        return None
    found = read_manifest(destination)
    if isinstance(found, Fault) or timeless(found) != timeless(manifest) or compare(destination, found):
        raise IntegrityError(
            "another package, or something else, is already there",
            value=destination,
            fix="choose another destination, or move the old package away; a hand-off is never overwritten",
        )
    return found


def timeless(manifest: PackageManifest) -> list[FileEntry]:
    """Every file but the one that holds the run's id and times."""
    return [file for file in manifest.files if file.path != layout.RUN]


def require_consistent(contents: PackageContents) -> None:
    """Records that don't belong together are refused before anything is written."""
    evaluation, artifact, decision = contents.evaluation, contents.artifact, contents.decision
    pairs = {
        "the evaluation is of another artifact": (evaluation.artifact, artifact.sha256),
        "the evaluation is against another baseline": (evaluation.baseline, contents.baseline_key),
        "the evaluation used another harness": (evaluation.harness, contents.baseline.harness),
        "the artifact was made by another recipe": (artifact.recipe, contents.recipe.digest()),
        "the recipe is of another model": (contents.recipe.model, contents.inputs.model.content),
        "the baseline is of another model": (contents.baseline.model, contents.inputs.model.content),
        "the baseline is on another evaluation set": (contents.baseline.evaluation, contents.inputs.evaluation.content),
        "the decision applied another gate": (decision.gate, contents.plan.gate_digest()),
    }
    faults = [
        Fault(where="package", what=what, value=found, allowed=wanted)
        for what, (found, wanted) in pairs.items()
        if found != wanted
    ]
    if contents.carries_sources and contents.recipe.trained is not None and contents.trained_weights is None:
        faults.append(Fault(where="package", what="the trained weights the recipe names are not here"))
    if "/" in artifact.file_name or artifact.file_name.startswith("."):
        faults.append(Fault(where="artifact.file_name", what="not a plain file name", value=artifact.file_name))
    if faults:
        raise IntegrityError("these records don't belong to one package", faults=faults)
