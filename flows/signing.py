"""A deployed run that lacks a signature suspends: it shows what is to be decided, frees process and slot, and is resumed later.

The form takes a pasted signature and never a secret. What it holds is handled once, by `tasks.asking.handle_answers`, when the
flow runs again from its first line; each form has a key of its own.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput, keyset_from_paused_state, read_flow_run_input
from prefect.input.run_input import Keyset
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_UI_URL
from prefect.states import Suspended
from pydantic import Field, create_model

from quantplay.signoff.paste import PASTED
from quantplay.signoff.ssh import LARGEST_SIGNATURE
from quantplay.store.requests import Request
from tasks.asking import NOTHING, request_signatures
from tasks.workbench import RunRef


def can_suspend() -> bool:
    """Whether Prefect lets this run give its slot back and start again later: a deployed one that no other flow called."""
    return deployment.get_id() is not None and flow_run.get_parent_flow_run_id() is None


def show_what_is_missing(run: RunRef) -> None:
    """For a run that ends here and goes on with `quantplay sign` or the next `quantplay run`."""
    request_signatures(run, plots(), form=False)


def wait_for_signatures(run: RunRef) -> None:
    """Suspend this flow run until somebody resumes it. Returns only where every signature came in the meantime.

    Call it outside the run's turn: others work on the run while this one is away. There is no timeout: an expired pause is FAILED
    for Prefect and can't be resumed, so requests expire by `flows.reminders`.
    """
    asked = request_signatures(run, plots(), form=True)
    if asked is None:
        return
    request, page = asked
    form = form_of(request, page)
    form.save(keyset_from_paused_state(Suspended(pause_key=request.key)))  # first: without it a resume would be refused
    suspend_flow_run(wait_for_input=form, key=request.key)


class Form(RunInput):
    """The base of every form: saved once, whoever saves it."""

    @classmethod
    def save(cls, keyset: Keyset, flow_run_id: Any = None) -> None:
        if read_flow_run_input(keyset["schema"], flow_run_id=flow_run_id) is None:
            super().save(keyset, flow_run_id)


def form_of(request: Request, page: str) -> type[Form]:
    """A choice of the prepared texts and room for one signature; both may stay as they are.

    Made whole: `with_initial_data` would drop descriptions and constraints.
    """
    choices = Literal[(NOTHING, *request.texts)]  # type: ignore[valid-type]
    fields: Any = {
        "statement": (choices, Field(
            default=NOTHING, title="What was signed",
            description="Which of the texts on this page your signature is under.",
        )),
        "signature": (str, Field(
            default="", title="Signature", max_length=LARGEST_SIGNATURE, pattern=PASTED,
            description="What ssh-keygen printed, from -----BEGIN SSH SIGNATURE----- to -----END SSH SIGNATURE-----. "
            "Line breaks may be lost. Never a private key.",
        )),
    }  # fmt: skip
    made = create_model("SignOff", __base__=Form, **fields)
    made._description = page
    return made


def plots() -> dict[str, str]:
    """Title -> address of the images this flow run made."""
    mine = flow_run.get_id()
    base = PREFECT_UI_URL.value()
    if mine is None or not base:
        return {}
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(mine)]), type=ArtifactFilterType(any_=["image"])
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    latest = {str(one.description or one.key): one for one in sorted(found, key=lambda one: str(one.created))}
    return {title: f"{base}/artifacts/artifact/{one.id}" for title, one in latest.items()}
