"""A job's own error reaches whoever sent it through the product database: both have that, on whatever machine they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.runtime import flow_run

from quantplay.errors import InternalError, QuantplayError, ServiceUnavailable
from quantplay.process import describe, revive
from tasks.workbench import workbench

FAILED = "job.failed"


@contextmanager
def left_behind() -> Iterator[None]:
    """Record an error as an event about this flow run, then let it go on its way."""
    try:
        yield
    except Exception as error:
        identity = flow_run.get_id()
        if identity is not None:
            with suppress(ServiceUnavailable):  # then the state's message is all there is
                workbench().store.append_event("quantplay", FAILED, identity, describe(error))
        raise


def error_of(flow_run_id: str) -> QuantplayError | None:
    """What the job of this flow run raised, of the same class; None where it left nothing."""
    events = workbench().store.events(kind=FAILED, subject=flow_run_id)
    if not events:
        return None
    body = dict(events[-1].body)
    if not body["kind"]:  # not one of ours: a fault that a second try would only repeat
        return InternalError(f"{body['what']}\n{body['traceback']}".rstrip(), fix="send us this message and the plan")
    return revive(body)
