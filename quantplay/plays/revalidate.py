"""A locked package measured again: the very bytes through the same harness, then compared with what was locked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantplay.envelope.changes import stack_changes
from quantplay.errors import ChildProcessFailed, InputError, QuantplayError
from quantplay.gate.envelope import check_envelope
from quantplay.gate.revalidation import Finding, Locked, Today, judge_again
from quantplay.plays import keys
from quantplay.plays.baseline import measure_speed
from quantplay.plays.evaluate import measure_candidate
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.records import Digest, Evaluation, Fingerprint, Record, Revalidation, Trigger


class MeasuredAgain(Record):
    """How the package stands, and what was measured; None where nothing could be."""

    found: Revalidation
    evaluation: Evaluation | None


def revalidate(
    locked: Locked,
    pinned: Pinned,
    *,
    candidate: Path,
    reference: Path,
    harness: Digest,
    stack: Fingerprint,
    threads: int,
    trigger: Trigger,
    at: str,
    on_progress: Report | None = None,
) -> MeasuredAgain:
    """Measure and judge. `reference`: full precision in the serving runtime; `at`: ISO 8601, UTC.

    A runtime that no longer takes the locked file or its prompts is a regression. Raises what passes by itself (a full disk,
    a service that does not answer): that says nothing of the package.
    """
    try:
        evaluation = measured(
            locked, pinned, candidate=candidate, reference=reference, harness=harness, stack=stack, threads=threads,
            on_progress=on_progress,
        )  # fmt: skip
        today = Today(
            stack=stack, harness=harness, changes=stack_changes(locked.evaluation.fingerprint, stack),
            evaluation=evaluation, measured=keys.measured_again_key(evaluation),
        )  # fmt: skip
        return MeasuredAgain(found=judge_again(locked, today, trigger=trigger, at=at), evaluation=evaluation)
    except QuantplayError as error:
        if error.transient:
            raise
        text = f"The locked file can't be measured any more: {sentence(error)}"
        hindrance = Finding(status="regressed" if is_the_runtimes_doing(error) else "stale", text=text)
        return not_measured(locked, [hindrance], harness=harness, stack=stack, trigger=trigger, at=at)


def is_the_runtimes_doing(error: QuantplayError) -> bool:
    """A refusal, a crash of native code or numbers that are none; not a child that ran out of memory or was killed."""
    from_outside = "SIGKILL" in error.what or "SIGTERM" in error.what or "MemoryError" in error.what
    return isinstance(error, InputError) or (isinstance(error, ChildProcessFailed) and not from_outside)


def measured(
    locked: Locked,
    pinned: Pinned,
    *,
    candidate: Path,
    reference: Path,
    harness: Digest,
    stack: Fingerprint,
    threads: int,
    on_progress: Report | None,
) -> Evaluation:
    """Today's evaluation. A promise of speed that looks broken is measured a second time: a busy moment is no regression."""
    evaluation = measure_candidate(
        locked.plan, pinned, baseline=locked.baseline, baseline_key=locked.evaluation.baseline, artifact=locked.artifact,
        candidate=candidate, reference=reference, harness=harness, fingerprint=stack, threads=threads,
        on_progress=on_progress,
    )  # fmt: skip
    if all(check.met for check in check_envelope(locked.plan.envelope, evaluation, locked.artifact)):
        return evaluation
    speed = measure_speed(locked.plan, pinned, {"reference": reference, "candidate": candidate}, threads, on_progress)
    return evaluation.model_copy(
        update={"performance": speed["candidate"], "reference_performance": speed["reference"]}
    )


def not_measured(
    locked: Locked, hindrances: Sequence[Finding], *, harness: Digest, stack: Fingerprint, trigger: Trigger, at: str
) -> MeasuredAgain:
    """What stands in the way, judged."""
    today = Today(
        stack=stack, harness=harness, changes=stack_changes(locked.evaluation.fingerprint, stack), evaluation=None,
        measured=None, hindrances=tuple(hindrances),
    )  # fmt: skip
    return MeasuredAgain(found=judge_again(locked, today, trigger=trigger, at=at), evaluation=None)


def sentence(error: QuantplayError) -> str:
    """An error in one line."""
    value = f" ({error.value})" if error.value is not None else ""
    return " ".join(f"{error.what}{value}.".split())
