"""Re-validation: every locked package, or one, through the same harness again, and how each stands."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import dispatch
from flows.cancelling import cancel_jobs
from flows.fitting import workers_that_fit
from flows.form_fields import seen
from flows.give_back import hardware_of, pool_of, require_fit
from flows.job_errors import left_behind
from quantplay.errors import QuantplayError
from quantplay.handoff.revalidation import STANDING_MARKS, standings_markdown
from quantplay.handoff.templating import md
from quantplay.plays.standing import Standing, worst_of
from quantplay.records import Digest, Trigger
from quantplay.settings import settings
from tasks.options import PLAY
from tasks.revalidate import believed, chosen, locked_package, measure_again, run_of
from tasks.workbench import workbench

Packages = Annotated[
    str,
    seen(
        "Packages",
        "all: every locked package. Or the first characters of one package's key, as the registry shows it.",
        pattern="^(all|[0-9a-f]{4,64})$",
    ),
]
Reason = Annotated[Trigger, seen("Reason", "Why it is done; kept with the result.")]
OnlyIfChanged = Annotated[
    bool,
    seen(
        "Only where something changed",
        "On: a package that is confirmed is not measured again while hardware, software and harness are as they were then. "
        "Off: everything is measured.",
    ),
]
PackageKey = Annotated[Digest, seen("Package", "The package's whole key.")]


def run_name() -> str:
    return f"{flow_run.parameters['packages']}, {flow_run.parameters['reason']}"


def job_name() -> str:
    return str(flow_run.parameters["package"])[:12]


@flow(
    name="revalidate",
    description="Measure locked packages again on today's stack, by the same harness, and say which are still what was locked.",
    flow_run_name=run_name,
    persist_result=False,
    on_cancellation=[cancel_jobs],
)
def revalidate(
    packages: Packages = "all", reason: Reason = "by hand", only_if_changed: OnlyIfChanged = False
) -> State[list[dict[str, Any]]]:
    """One job a package. A regression opens an incident.

    The state's name is the worst status, its message how many of each there are, its data how each package stands.
    """
    keys = chosen(packages)
    found = [again(key, reason, only_if_changed) for key in keys]
    show(found)
    counts = {status: sum(one.status == status for one in found) for status in ("regressed", "stale", "confirmed")}
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no package is locked"
    name = worst_of(one.status for one in found).capitalize()
    return Completed(name=name, message=text, data=[one.body() for one in found])


@flow(
    name="measure-again-job",
    description="One locked package, measured again on this worker's device. Started by re-validations, not by people.",
    flow_run_name=job_name,
    persist_result=False,
)
def measure_again_job(
    package: PackageKey, reason: Reason = "by hand", only_if_changed: OnlyIfChanged = False
) -> State[str]:
    """Measure and record; how the package stands, as JSON, is the message of the Completed state."""
    with left_behind():
        prefer_fit(package)
        now = measure_again(package, reason, only_if_changed)
    return Completed(name=now.status.capitalize(), message=now.model_dump_json())


def prefer_fit(package: Digest) -> None:
    """Leave it to a worker with the hardware it was locked on, where one is alive; elsewhere the difference is measured and named."""
    identity, made_of = flow_run.get_id(), locked_package(package).package.made_of
    if made_of is None or identity is None:
        return
    run = run_of(locked_package(package))
    with get_client(sync_client=True) as client:
        pool = pool_of(client, UUID(identity))
    if pool is not None and workers_that_fit(run.read(), hardware_of(made_of.baseline), pool):
        require_fit(run, made_of.baseline)


def again(package: Digest, reason: Trigger, only_if_changed: bool) -> Standing:
    """Here, or by a worker. What goes wrong with one package does not keep the others from being measured."""
    try:
        if settings().pool is None:
            return measure_again(package, reason, only_if_changed)
        parameters = {"package": package, "reason": reason, "only_if_changed": only_if_changed}
        return believed(package, dispatch.result_of(f"measure-again-job/{dispatch.pool()}", parameters))
    except QuantplayError as error:
        return failed(package, error)


def failed(package: Digest, error: QuantplayError) -> Standing:
    entry = locked_package(package)
    return Standing(
        package=package, name=entry.name, status="stale", at=entry.locked_at.isoformat(timespec="seconds"), revalidation=None,
        why=f"It could not be measured again: {' '.join(error.what.split())}",
    )  # fmt: skip


@task(name="show", **PLAY)
def show(found: list[Standing]) -> None:
    """All packages on one page, as a table too."""
    create_markdown_artifact(standings_markdown(found), key="revalidation", description="How every package stands")
    rows = [
        {
            "package": one.package[:12],
            "plan": one.name,
            "status": STANDING_MARKS[one.status],
            "since": one.at,
            "why": one.why,
        }
        for one in found
    ]
    create_table_artifact(rows, key="revalidation-table", description="How every package stands")
    for incident in workbench().store.list_incidents(open_only=True):
        create_markdown_artifact(
            f"Open since {incident.opened_at:%Y-%m-%d %H:%M} UTC: {md(incident.what)}\n\nClose it with "
            f"`quantplay registry incidents --close {str(incident.id)[:8]} --reason TEXT --lesson TEXT --folded-into WHAT --where REFERENCE`.",
            key=f"incident-{str(incident.id)[:8]}", description=f"Incident: {incident.kind}",
        )  # fmt: skip
