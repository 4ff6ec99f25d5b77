"""Verify a package that nobody vouches for: in a child process whose memory is bounded by the size of what it reads.

A record made to use all memory, or to crash a library that reads it, ends the child and is a fault of the package.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.errors import ChildProcessFailed, Fault, IntegrityError
from quantplay.evalset.jsonl import printable
from quantplay.handoff.verify import VerifyReport, package_folder, unusable, verify_folder
from quantplay.process import Report

LEAST_MEMORY_BYTES = 3 << 30  # address space; the libraries alone reserve half of it, and use a tenth of that
MEMORY_PER_RECORD_BYTE = 200  # compressed rows as Python objects: 145 measured over 50,000 items

LONGEST_SENTENCE = 4000


def verify_apart(path: Path, **options: Any) -> VerifyReport:
    """`verify(path, **options)` in a child; `options` are JSON-safe. Raises what `verify` raises."""
    try:
        with package_folder(path) as folder:
            report = verify_folder_apart(folder, path, options)
    except IntegrityError as error:
        report = unusable(path, Fault(where=path.name, what=error.what, value=str(error.value or ""), fix=error.fix))
    return harmless(report)


def verify_folder_apart(folder: Path, named: Path, options: dict[str, Any]) -> VerifyReport:
    """Check the unpacked package in `folder`; `named` is what the user called it."""
    job = {"folder": str(folder), "named": str(named), "options": options, "memory_bytes": memory_for(folder)}
    try:
        outcome = process.run("quantplay.handoff.apart:verify_job", job, threads=1)
    except ChildProcessFailed as error:
        what = "the check died of it: a record crashes what reads it, or takes more memory than a check may take"
        allowed = f"{job['memory_bytes'] >> 20} MiB of address space"
        return unusable(named, Fault(where=named.name, what=what, value=error.what, allowed=allowed))
    return report_of(outcome.value)


def memory_for(folder: Path) -> int:
    """What a check of this package may take: proportional to what it has to read into memory."""
    records = (path for path in folder.glob("*") if path.is_file() and not path.is_symlink())
    return LEAST_MEMORY_BYTES + MEMORY_PER_RECORD_BYTE * sum(path.stat().st_size for path in records)


def verify_job(payload: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Job of quantplay.process. payload: folder, named, options of `verify`, memory_bytes. Returns the report's fields."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (payload["memory_bytes"],) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return asdict(verify_folder(Path(payload["folder"]), Path(payload["named"]), **payload["options"]))


def report_of(body: dict[str, Any]) -> VerifyReport:
    """The report again, from its fields as JSON gives them."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in body.items()}
    fields["problems"] = tuple(Fault(**fault) for fault in body["problems"])
    return VerifyReport(**fields)


def harmless(report: VerifyReport) -> VerifyReport:
    """The report without characters that move a terminal's cursor: names and values come from the package."""

    def clean(fault: Fault) -> Fault:
        said: dict[str, Any] = {key: text and printable(" ".join(text.split())) for key, text in vars(fault).items()}
        return Fault(**said)

    return replace(
        report,
        run=None if report.run is None else printable(report.run),
        problems=tuple(clean(fault) for fault in report.problems),
        checked=tuple(map(printable_sentence, report.checked)),
        not_proven=tuple(map(printable_sentence, report.not_proven)),
    )


def printable_sentence(text: str) -> str:
    """The same for a sentence, which `printable` would cut short."""
    text = " ".join(text[:LONGEST_SENTENCE].split())
    return "".join(printable(text[start : start + 400]) for start in range(0, len(text), 400))
