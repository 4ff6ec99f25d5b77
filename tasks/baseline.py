"""Play 1: the full-precision model on the frozen evaluation set."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.envelope.jobs import baseline_bytes, require_memory
from quantplay.envelope.shape import read_shape
from quantplay.handoff.markdown import baseline_markdown
from quantplay.plays import keys
from quantplay.plays.baseline import measure_baseline
from quantplay.records import Baseline, Digest
from tasks.device import on_device
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.reference import full_precision
from tasks.workbench import RunRef, once, workbench


@task(name="baseline", **PLAY)
def baseline(run: RunRef) -> Digest:
    """Measure (or look up) the baseline; returns its key."""
    bench, plan = workbench(), run.read()
    harness = keys.harness_of(plan, run.inputs)
    identity = keys.baseline_key(plan, run.inputs, harness, bench.fingerprint)
    key = begun_with(run, identity) or bench.store.sanctioned_baseline(identity, plan.evaluation.baseline_days)
    if key is None:
        key = keys.renewed_key(identity, bench.store.baseline_generations(identity))

    def make() -> Baseline:
        require_memory("baseline", baseline_bytes(read_shape(run.paths().model), plan.envelope))
        return measure_baseline(
            plan, run.pinned(), harness=harness, fingerprint=bench.fingerprint,
            reference=full_precision(run), threads=bench.threads, on_progress=reporter("baseline"),
        )  # fmt: skip

    record = once(run, "baseline", key, find=bench.store.get_baseline, make=on_device(run, "baseline", make))
    bench.store.sanction_baseline(key, identity, plan.evaluation.baseline_days)
    create_markdown_artifact(
        baseline_markdown(record, plan), key="baseline", description="Full precision, before anything"
    )
    return key


def begun_with(run: RunRef, identity: Digest) -> Digest | None:
    """The baseline this very run has recorded already: a play that is tried again does not measure a second one."""
    store = workbench().store
    row = store.get_run(run.run)
    begun = [play.key for play in row.plays if play.play == "baseline"] if row is not None else []
    return next((key for key in begun if store.identity_of_baseline(key) == identity), None)
