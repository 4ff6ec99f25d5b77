"""Where a plan will run: whether its format is made for that, and whether a run can be done on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantplay.envelope.choose import order_for
from quantplay.envelope.fitting import RULE, mismatch
from quantplay.envelope.hardware import read_accelerators
from quantplay.envelope.mix import block_size
from quantplay.envelope.shape import read_shape
from quantplay.errors import Fault, InputError, MissingDependency
from quantplay.formats import SERVERS, TYPES
from quantplay.harness.server_command import require_runtime
from quantplay.plan import Envelope
from quantplay.plan_file import PlanFile
from quantplay.quantizers import missing_extra


def extra_faults(file: PlanFile, envelope: Envelope) -> Iterator[Fault]:
    """One fault a type whose format needs packages that are not installed here, and one for a server that is not."""
    if envelope.runtime in SERVERS:
        try:
            require_runtime(envelope.runtime)
        except MissingDependency as error:
            yield file.fault(
                ("envelope", "runtime"), f"envelope.runtime: {error.what}", value=envelope.runtime,
                fix=f"{error.fix}; `quantplay plan {file.path}` plans without it",
            )  # fmt: skip
    for position, name in enumerate(envelope.types or order_for(envelope.runtime)):
        kind = TYPES.get(name)
        missing = missing_extra(kind.format) if kind is not None else None
        if missing is not None:
            yield file.fault(
                ("envelope", "types", position), f"envelope.types[{position + 1}]: {missing.what}", value=f"{name}: not installed",
                fix=missing.fix,
            )  # fmt: skip


def cache_faults(file: PlanFile, envelope: Envelope, folder: Path | None) -> Iterator[Fault]:
    """A type of the key-value cache that the runtime does not have, or whose blocks don't divide the model's heads."""
    kind, where = envelope.cache_type, ("envelope", "cache_type")
    if kind is None:
        return
    if SERVERS.get(envelope.runtime, envelope.runtime) != "llama.cpp":
        yield file.fault(
            where, f"envelope.cache_type: {envelope.runtime} is not told the type of its cache here", value=kind,
            allowed="llama.cpp and llama.cpp-server", fix="leave it out: the runtime chooses",
        )  # fmt: skip
        return
    try:
        head = read_shape(folder, need_weights=False).head_dim if folder is not None else 0
    except InputError:
        return  # what is wrong with the model is said elsewhere
    block = block_size(kind.upper())
    if head % block:
        yield file.fault(
            where, f"envelope.cache_type: blocks of {block} numbers don't divide a head of this model", value=f"{kind}; a head has {head}",
            allowed="f16", fix="leave it out",
        )  # fmt: skip


def place_faults(file: PlanFile, envelope: Envelope) -> Iterator[Fault]:
    """Faults of runtime and device. A format for another device needs a recorded reason."""
    accepted = any(one.rule == RULE for one in file.parts.get("deviations") or ())
    why = mismatch(envelope, envelope.types or order_for(envelope.runtime))
    if why is not None and not accepted:
        yield file.fault(
            ("envelope", "runtime"), f"envelope.runtime: the format does not follow from where the model will run. {why}",
            value=f"{envelope.runtime} on a {envelope.device}",
            fix=f"choose the runtime for the device, or give a reason with a deviation: {{rule: {RULE}, reason: ...}}",
        )  # fmt: skip
    if envelope.device == "gpu" and not read_accelerators():
        yield file.fault(
            ("envelope", "device"), "envelope.device: this machine has no such device, so nothing could be measured",
            value=envelope.device, allowed="cpu", fix=f"run it where one is; `quantplay plan {file.path}` plans for it here",
        )  # fmt: skip
