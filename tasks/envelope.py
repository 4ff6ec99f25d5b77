"""Play 2: where the model will run, and the serving types to try in order."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.envelope.choose import choose
from quantplay.handoff.markdown import envelope_markdown
from quantplay.plays import keys
from quantplay.records import Digest
from tasks.options import PLAY
from tasks.updates import update_of
from tasks.workbench import RunRef, once, workbench


@task(name="envelope", **PLAY)
def envelope(run: RunRef) -> Digest:
    """Choose (or look up) what to build; returns the key of the EnvelopeChoice."""
    bench, plan = workbench(), run.read()
    update = update_of(bench.store, plan)
    key = keys.envelope_key(plan, run.inputs, bench.fingerprint, update)
    choice = once(
        run, "envelope", key,
        find=bench.store.get_envelope,
        make=lambda: choose(plan.envelope, run.paths().model, bench.fingerprint, update),
    )  # fmt: skip
    create_markdown_artifact(envelope_markdown(choice), key="envelope", description="What will be built, and why")
    return key
