"""Verify a package offline: every checksum, and that its parts follow from each other. Nothing in it is executed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantplay import __version__
from quantplay.digest import digest_of_file
from quantplay.engines.tarball import unpack_tar
from quantplay.engines.whole_file import require_space
from quantplay.errors import Fault, InputError, IntegrityError, QuantplayError
from quantplay.handoff import layout
from quantplay.handoff.approvals import Approvals, Signed, check_approvals
from quantplay.handoff.checks import CHECKS, Check, checks_calibration_again, names_calibration
from quantplay.handoff.further_checks import went_further
from quantplay.handoff.manifest import compare, read_manifest, safe_to_read
from quantplay.handoff.opened import OpenPackage, open_package
from quantplay.handoff.signatures import read_list
from quantplay.records import Digest
from quantplay.signoff import Owners, read_owners
from quantplay.signoff.text import changes_of

NO_CASE = "0" * 64
"""What nobody can have signed: trained without a business case."""


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found. `ok` says that nothing speaks against the package, within what `not_proven` leaves open."""

    path: str
    problems: tuple[Fault, ...]
    checked: tuple[str, ...]  # what holds, a sentence each
    not_proven: tuple[str, ...]  # what this check can't tell, a sentence each
    run: str | None = None
    manifest: Digest | None = None  # SHA-256 of manifest.json, to compare with a copy kept elsewhere
    files: int = 0
    size_bytes: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    path: Path, *, manifest_digest: str | None = None, owners: str | None = None, signatures_due: bool = True
) -> VerifyReport:
    """Check the package in folder or .tar `path`.

    manifest_digest: SHA-256 of manifest.json as the run printed it or the product database holds it; with it a package rewritten
    as a whole is found out too. owners: path of the reader's own owners file, which proves who signed. signatures_due: False for
    a package that was just written and is about to be signed. Raises InputError where there is nothing at `path`, or the owners
    file can't be used, OutOfSpace where an archive can't be unpacked, MissingDependency where signatures have to be checked
    without ssh-keygen; everything wrong with the package itself is in the answer.
    """
    try:
        with package_folder(path) as folder:
            return verify_folder(folder, path, manifest_digest, owners=owners, signatures_due=signatures_due)
    except IntegrityError as error:
        return unusable(path, Fault(where=path.name, what=error.what, value=str(error.value or ""), fix=error.fix))


@contextmanager
def package_folder(path: Path) -> Iterator[Path]:
    """The folder of the package at `path`; an archive is unpacked into a temporary one, gone at the end.

    Raises InputError where there is nothing, or a model by itself; IntegrityError on an archive that is none of ours, OutOfSpace.
    """
    if is_model(path):
        raise InputError(
            "this is a model and no package: no gate has judged it here", value=path, allowed="a package's folder, or its .tar",
            fix="`quantplay import ARTIFACT --base MODEL` registers it, and a run with `imported` in its plan judges it",
        )  # fmt: skip
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise InputError(
            "there is no package here", value=path, allowed="a package's folder, or its .tar",
            fix="`quantplay show` lists the packages of your runs",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="quantplay-verify-") as temporary:
        require_space(Path(temporary), path.stat().st_size)
        yield unpack_tar(path, Path(temporary))


def is_model(path: Path) -> bool:
    """Whether a model lies there by itself: a GGUF file, or a folder with weights' configuration."""
    if path.is_dir():
        return (path / "config.json").is_file() and not (path / layout.MANIFEST).exists()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def unusable(path: Path, fault: Fault) -> VerifyReport:
    """The answer where the package can't even be opened."""
    return VerifyReport(path=str(path), problems=(fault,), checked=(), not_proven=open_questions(None))


def verify_folder(
    folder: Path,
    named: Path,
    manifest_digest: str | None = None,
    *,
    owners: str | None = None,
    signatures_due: bool = True,
) -> VerifyReport:
    trusted = read_owners(Path(owners)) if owners is not None else None
    manifest = read_manifest(folder)
    if isinstance(manifest, Fault):
        return unusable(named, manifest)
    digest = digest_of_file(folder / layout.MANIFEST)
    checked: list[str] = []
    problems = compare(folder, manifest)
    if not problems:
        checked.append(f"{len(manifest.files)} files have the listed sizes and SHA-256; none is missing or added")
    if manifest_digest is not None:
        if manifest_digest.strip().lower() == digest:
            checked.append("the manifest is the one whose digest you gave")
        else:
            problems.append(
                Fault(
                    where=layout.MANIFEST,
                    what="is not the manifest whose digest you gave",
                    value=digest,
                    allowed=manifest_digest,
                    fix="this is another package, or a changed one",
                )
            )
    package = open_package(folder, manifest) if safe_to_read(problems) else []
    if isinstance(package, OpenPackage):
        checked.append("every record has the form it must have")
        for sentence, check in checks_for(package):
            faults = run_check(check, package)
            problems += faults
            if not faults:
                checked.append(sentence)
    else:
        known = {fault.where for fault in problems}
        problems += [fault for fault in package if fault.where not in known]
    approvals = approvals_of(folder, package, digest, trusted) if signatures_due else Approvals()
    problems += approvals.problems
    checked += approvals.checked
    proven = manifest_digest is not None or (approvals.proves_manifest and not problems)
    return VerifyReport(
        path=str(named),
        problems=tuple(problems),
        checked=tuple(checked),
        not_proven=(*open_questions(package, given=proven, digest=digest), *approvals.not_proven),
        run=manifest.run,
        manifest=digest,
        files=len(manifest.files),
        size_bytes=manifest.size_bytes,
    )


def approvals_of(
    folder: Path, package: OpenPackage | list[Fault], manifest: Digest, owners: Owners | None
) -> Approvals:
    """What signatures/ shows; of a package whose records can't be read, only what is wrong with its files."""
    if not isinstance(package, OpenPackage):
        _, faults = read_list(folder)
        return Approvals(problems=faults, not_proven=["Who approved it: the records that were signed can't be read."])
    signed = Signed(
        run=package.manifest.run, profile=package.plan.profile, decision=package.decision.digest(),
        gate=package.plan.gate_digest(), gate_changes=changes_of(package.decision), manifest=manifest,
        looks={one.decision.digest(): changes_of(one.decision) for one in package.attempts},
        business_case=business_case_of(package),
    )  # fmt: skip
    return check_approvals(folder, signed, owners)


def business_case_of(package: OpenPackage) -> Digest | None:
    """What had to be signed before training: nothing where the artifact was not trained."""
    case = package.plan.business_case
    trained = package.training is not None or package.recipe.trained is not None
    return (case.digest() if case is not None else NO_CASE) if trained else None


def checks_for(package: OpenPackage) -> Iterator[tuple[str, Check]]:
    """The checks that can be made with what the package carries."""
    for sentence, check in CHECKS:
        if check.__name__ == "texts_follow" and package.run["quantplay"] != __version__:
            continue
        if check.__name__ == "calibration_agrees" and not names_calibration(package):
            continue
        if check.__name__ == "standards_agree" and package.decision.standards is None:
            continue
        if check.__name__ == "update_agrees" and package.plan.updates is None and package.update is None:
            continue
        if check.__name__ == "further_agrees" and not went_further(package):
            continue
        if check.__name__ == "calibration_agrees" and not checks_calibration_again(package):
            sentence = f"{layout.CALIBRATION} records no defect but those the plan accepts, and the decision shows them"
        if check.__name__ == "artifact_agrees" and package.recipe.imported is not None:
            sentence = "the artifact is the imported file that recipe and plan name, each tensor stored as recorded"
        if check.__name__ == "inputs_agree" and not package.carries_sources:
            sentence = "recipe and baseline name the pinned model, calibration and evaluation sets"
        yield sentence, check


def run_check(check: Check, package: OpenPackage) -> list[Fault]:
    """Faults of one check. What a forged record makes it stumble over is a fault of the package, not of ours."""
    try:
        return list(check(package))
    except QuantplayError as error:
        faults: list[Fault] = list(getattr(error, "faults", ()))
        return faults or [Fault(where=package.folder.name, what=error.what, value=str(error.value or ""))]
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, IndexError, OSError) as error:
        name = check.__name__.replace("_", " ")
        return [Fault(where=package.folder.name, what=f"can't be checked ({name})", value=repr(error))]
    except MemoryError:
        return [Fault(where=package.folder.name, what="would take more memory than a check may take")]


def open_questions(
    package: OpenPackage | list[Fault] | None, *, given: bool = False, digest: str = ""
) -> tuple[str, ...]:
    """What stays unproven, in words."""
    found = []
    if not given:
        found.append(
            "That nobody rewrote the package as a whole, manifest included: compare the manifest's digest"
            + (f" {digest}" if digest else "")
            + " with the one the run printed or the product database holds, or give it with --manifest."
        )
    found.append("That the answers in items.parquet are what the models said: only running them again shows that.")
    if isinstance(package, OpenPackage):
        if not package.carries_sources:
            found.append(
                "That the full-precision model and the data sets are the pinned ones: they are not in this package; "
                "compare yours with inputs.json."
            )
        if not names_calibration(package):
            found.append("That the calibration set has no defect: this package says that its run did not check it.")
        elif not checks_calibration_again(package):
            found.append(
                f"That {layout.CALIBRATION} says what the calibration set is like: checking the set again takes its files and the "
                "version of quantplay that wrote the package."
            )
        if package.run["quantplay"] != __version__:
            found.append(
                f"That report, README and model card say what the records say: they were written by quantplay "
                f"{package.run['quantplay']}, this is {__version__}."
            )
    return tuple(found)
