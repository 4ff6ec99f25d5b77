"""What the registry has already for a plan that begins: told, and nothing else. The run does what it would do without."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact

from quantplay.errors import QuantplayError
from quantplay.handoff.templating import md
from quantplay.plan import Plan
from quantplay.plays.catalogue import stood
from quantplay.plays.reuse import Offer, offers
from quantplay.records import Inputs
from quantplay.store.catalogue import Wanted
from tasks.progress import announce
from tasks.workbench import workbench


def tell_what_is_there(plan: Plan, inputs: Inputs) -> None:
    """Say which locked packages of this very model there are for this runtime. A look-up that fails stops no run."""
    with suppress(QuantplayError):
        found = what_is_there(plan, inputs)
        for one in found:
            announce("registry", f"already there: {one.text()}")
            announce("registry", f"to use that instead: {'; '.join(one.commands())}")
        if found:
            create_markdown_artifact(
                page_of(found), key="reuse", description="What the registry has already for this model and runtime"
            )


def what_is_there(plan: Plan, inputs: Inputs) -> tuple[Offer, ...]:
    bench = workbench()
    found = bench.store.find_packages(Wanted(base=inputs.model.content, runtime=plan.envelope.runtime))
    return offers(stood(found, bench.fingerprint, datetime.now(UTC)), plan, bench.fingerprint.hardware)


def page_of(found: tuple[Offer, ...]) -> str:
    lines = [
        "This model has been quantized for this runtime before. The run goes on; to use what is there instead, stop it.",
        "",
    ]
    for one in found:
        lines.append(f"- {md(one.text())}")
        lines += [f"    - `{command}`" for command in one.commands()]
    return "\n".join(lines)
