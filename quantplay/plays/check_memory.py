"""Whether a run of a plan could ever fit into this machine's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantplay.envelope.choose import order_for
from quantplay.envelope.hardware import read_memory
from quantplay.envelope.jobs import GIB, baseline_bytes, evaluation_bytes
from quantplay.envelope.shape import read_shape
from quantplay.errors import Fault, InputError
from quantplay.formats import types_of
from quantplay.plan import Envelope
from quantplay.plan_file import PlanFile


def memory_faults(file: PlanFile, envelope: Envelope, folder: Path, memory: int | None = None) -> Iterator[Fault]:
    """A fault where play 1 or 4 needs more than this machine has in all; other programs count when a play starts."""
    try:
        shape = read_shape(folder)
    except InputError:
        return  # what is wrong with the model is said elsewhere
    known = types_of(envelope.runtime)
    kinds = [kind for kind in envelope.types or order_for(envelope.runtime) if kind in known]
    needs = {"baseline": baseline_bytes(shape, envelope)}
    if kinds:
        needs["evaluate"] = max(evaluation_bytes(shape, envelope, kind) for kind in kinds)
    memory = read_memory() if memory is None else memory
    play = max(needs, key=lambda name: needs[name])
    if needs[play] > memory:
        yield file.fault(
            ("envelope",), f"envelope: the play {play} would not fit into this machine's memory",
            value=f"about {needs[play] / GIB:,.1f} GiB at its peak, {memory / GIB:,.1f} GiB here",
            fix="use a machine with more memory, a smaller model, or lower envelope.context_tokens or envelope.batch",
        )  # fmt: skip
