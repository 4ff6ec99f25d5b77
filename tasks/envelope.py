"""Play 2: where the model will run, and the serving types to try in order."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.envelope.choose import choose
from quantplay.envelope.shape import read_shape
from quantplay.handoff.markdown import envelope_markdown
from quantplay.plays import keys
from quantplay.plays.planning import probe_machine
from quantplay.records import Digest, EnvelopeChoice
from tasks.options import PLAY
from tasks.updates import update_of
from tasks.workbench import RunRef, once, workbench


@task(name="envelope", **PLAY)
def envelope(run: RunRef) -> Digest:
    """Choose (or look up) what to build; returns the key of the EnvelopeChoice."""
    bench, plan = workbench(), run.read()
    update = update_of(bench.store, plan)
    key = keys.envelope_key(plan, run.inputs, bench.fingerprint, update)

    def make() -> EnvelopeChoice:
        folder = run.paths().model
        shape = read_shape(folder)
        machine = probe_machine(shape, plan.envelope, bench.fingerprint.threads)
        return choose(
            plan.envelope, folder, bench.fingerprint, update,
            machine=machine, gate=plan.gate, case=plan.business_case, shape=shape,
        )  # fmt: skip

    choice = once(
        run, "envelope", key,
        find=bench.store.get_envelope,
        make=make,
    )  # fmt: skip
    create_markdown_artifact(envelope_markdown(choice), key="envelope", description="What will be built, and why")
    return key
