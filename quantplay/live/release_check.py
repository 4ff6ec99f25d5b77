"""May this package serve anybody? Offline, from the package alone: what a pipeline asks before it ships (nothing ships without)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from quantplay.errors import Fault
from quantplay.handoff import layout
from quantplay.handoff.apart import harmless, verify_folder_apart
from quantplay.handoff.verify import VerifyReport, package_folder
from quantplay.records import Artifact, Decision, Digest, RollbackRules


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that had to hold."""

    name: str  # as a pipeline lists it
    ok: bool
    said: str  # a sentence on what was found
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a release takes from the package."""

    run: str
    plan: str
    profile: str
    manifest: Digest
    type: str
    artifact: Digest  # sha256 of the file that is to be served
    full_precision: Digest  # of the file it was measured against, and falls back to
    decode_ratio: float  # its time per token over full precision's, as measured before the lock
    rules: RollbackRules


@dataclass(frozen=True, kw_only=True)
class ReleaseCheck:
    """The answer. `facts` are None where the package could not be read."""

    path: str
    lines: tuple[Line, ...]
    facts: Facts | None

    @property
    def ok(self) -> bool:
        return all(line.ok for line in self.lines)


def check_release(
    path: Path, *, owners: Path | None = None, manifest: str | None = None, internal: bool = False
) -> ReleaseCheck:
    """Check the package at `path`: its bytes, its gate, its signatures, its way back. Opens no connection.

    owners: the reader's own owners file; without it nobody's signature proves anything. internal: packages of profile internal are
    accepted too, which nobody signs; who does not ask for that can't be given a production package written again as one.
    Raises InputError where there is nothing at `path` or the owners file can't be used, MissingDependency without ssh-keygen.
    """
    with package_folder(path) as folder:
        options = {"manifest_digest": manifest, "owners": None if owners is None or internal else str(owners)}
        report = harmless(verify_folder_apart(folder, path, options))
        lines = [Line(
            name="package", ok=report.ok, said=f"{report.files} files hold together" if report.ok else problems_said(report),
            fix="" if report.ok else "ask for the package again, or run the plan again",
        )]  # fmt: skip
        facts = facts_of(folder, report) if report.ok else None
        if facts is not None:
            lines += judged(folder, facts, owners, internal)
    return ReleaseCheck(path=str(path), lines=tuple(lines), facts=facts)


def problems_said(report: VerifyReport) -> str:
    """The first faults in one line."""
    faults: tuple[Fault, ...] = report.problems
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return "; ".join(f"{fault.where}: {fault.what}" for fault in faults[:3]) + more


def facts_of(folder: Path, report: VerifyReport) -> Facts:
    """From records that verification has just read and found to agree."""

    def body(name: str) -> dict[str, Any]:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    plan, artifact = body(layout.PLAN), Artifact.model_validate(body(layout.ARTIFACT))
    measured, baseline = body(layout.EVALUATION)["record"], body(layout.BASELINE)["record"]
    mine = measured["performance"]["time_per_token_ms"]["p50"]
    full = measured["reference_performance"]["time_per_token_ms"]["p50"]
    return Facts(
        run=str(report.run), plan=plan["name"], profile=plan["profile"], manifest=str(report.manifest), type=artifact.type,
        artifact=artifact.sha256, full_precision=baseline["reference"]["model"], decode_ratio=mine / full,
        rules=RollbackRules.model_validate(plan.get("rollback_rules") or {}),
    )  # fmt: skip


def judged(folder: Path, facts: Facts, owners: Path | None, internal: bool) -> Iterator[Line]:
    """What has to hold beyond an undamaged package."""
    decision = Decision.model_validate(json.loads((folder / layout.DECISION).read_text(encoding="utf-8")))
    serves = facts.profile == "production" or (internal and facts.profile == "internal")
    yield Line(
        name="profile", ok=serves, said=f"the plan's profile is {facts.profile}",
        fix="" if serves else "run the plan with profile: production" + ("; or --internal" if facts.profile == "internal" else ""),
    )  # fmt: skip
    passed, loosened = decision.verdict == "pass" and decision.envelope_met, len(decision.gate_changes)
    yield Line(
        name="gate", ok=passed,
        said=f"the gate said {decision.verdict}, the envelope is {'met' if decision.envelope_met else 'missed'}"
        + (f"; {loosened} of its limits were loosened after results" if loosened else ""),
        fix="" if passed else "only what passed its gate may serve",
    )  # fmt: skip
    if not internal:
        yield Line(
            name="signatures", ok=owners is not None,
            said="all approvals hold against your owners file" if owners else "nobody vouches for who signed",
            fix="" if owners else "--owners FILE, or QUANTPLAY_OWNERS: the people and keys you trust",
        )  # fmt: skip
        target = decision.target
        named = target.target if target is not None else None
        same = named is None or (target is not None and target.same)
        measured = f"measured on {target.measured}" if target is not None else "measured where it ran"
        yield Line(
            name="hardware", ok=same, said=f"{measured}; the plan names {named or 'no chip'}",
            fix="" if same else "run the plan on the chip that serves",
        )  # fmt: skip
    yield Line(
        name="way back",
        ok=True,
        said=f"full precision is the file {facts.full_precision[:12]}, as the baseline pins it",
    )


def junit(check: ReleaseCheck) -> bytes:
    """The lines as JUnit XML, which CI systems show as tests."""
    failed = sum(not line.ok for line in check.lines)
    suite = ElementTree.Element(
        "testsuite", name="quantplay release-check", tests=str(len(check.lines)), failures=str(failed), errors="0"
    )
    for line in check.lines:
        case = ElementTree.SubElement(suite, "testcase", classname="release-check", name=line.name)
        if not line.ok:
            text = line.said + (f"\n{line.fix}" if line.fix else "")
            ElementTree.SubElement(case, "failure", message=line.said).text = text
        else:
            ElementTree.SubElement(case, "system-out").text = line.said
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
