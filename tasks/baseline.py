"""Play 1: the full-precision model on the frozen evaluation set."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.markdown import baseline_markdown
from quantplay.harness.identity import harness_digest
from quantplay.plays import keys
from quantplay.plays.baseline import measure_baseline
from quantplay.records import Baseline, Digest
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.reference import full_precision
from tasks.workbench import RunRef, once, workbench


@task(name="baseline", **PLAY)
def baseline(run: RunRef) -> Digest:
    """Measure (or look up) the baseline; returns its key."""
    bench, plan = workbench(), run.read()
    harness = harness_digest(run.inputs.evaluation.content, plan.decoding, keys.served(plan))
    key = keys.baseline_key(plan, run.inputs, harness, bench.fingerprint)

    def make() -> Baseline:
        return measure_baseline(
            plan, run.pinned(), harness=harness, fingerprint=bench.fingerprint,
            reference=full_precision(run), threads=bench.threads, on_progress=reporter("baseline"),
        )  # fmt: skip

    record = once(run, "baseline", key, find=bench.store.get_baseline, make=make, put=bench.store.put_baseline)
    create_markdown_artifact(
        baseline_markdown(record, plan), key="baseline", description="Full precision, before anything"
    )
    return key
