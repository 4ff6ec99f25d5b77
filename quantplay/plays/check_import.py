"""Before anything runs: a plan that has an imported artifact judged says which type it is, and asks for nothing that would make another."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.errors import Fault
from quantplay.plan import Envelope, Gate
from quantplay.plan_file import PlanFile

MAKE_ANOTHER = ("mixed_precision", "business_case", "training")


def import_faults(file: PlanFile) -> Iterator[Fault]:
    parts = file.parts
    if parts.get("imported") is None:
        return
    envelope: Envelope | None = parts.get("envelope")
    gate: Gate | None = parts.get("gate")
    if envelope is not None and len(envelope.types) != 1:
        yield file.fault(
            ("envelope", "types"), "envelope.types: an imported artifact has one type", value=", ".join(envelope.types) or "none named",
            allowed="the type that `quantplay registry show` tells of it", fix="name it alone, such as `types: [Q4_K_M]`",
        )  # fmt: skip
    if gate is not None and gate.attempts != 1:
        yield file.fault(
            ("gate", "attempts"), "gate.attempts: an imported artifact is looked at once, and nothing else is tried after it",
            value=str(gate.attempts), allowed="1", fix="write `attempts: 1`; a plan without `imported` may try more",
        )  # fmt: skip
    for name in MAKE_ANOTHER:
        if parts.get(name) is not None:
            yield file.fault(
                (name,), f"{name}: would make another artifact than the imported one", fix=f"remove `{name}`, or `imported`"
            )  # fmt: skip
