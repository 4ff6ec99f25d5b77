"""Start a run from the browser, the plan filled in field by field."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.cancelling import cancel_jobs
from flows.form_fields import seen
from flows.form_to_plan import filled, plan_of, plan_text, require_good
from flows.plan_form import Data, HowToTrain, Mixing, More, People, PlanForm, Skill, Target, Training
from flows.quantize import playbook
from quantplay.plan import Profile
from quantplay.settings import settings
from tasks.plans import plan_beside
from tasks.runs import note_cancelled

LIMITS = ("pattern", "minLength", "minItems")


def shown(field: str) -> Any:
    """How the run form shows a field of the form model: what stands there."""
    schema = PlanForm.model_json_schema()["properties"][field]
    return seen(schema["title"], schema["description"], **{key: schema[key] for key in LIMITS if key in schema})


def run_name() -> str:
    return str(flow_run.parameters["name"])


@flow(
    name="quantize-form",
    description="Start a quantization by filling in this form. What has a value already has the usual one.",
    flow_run_name=run_name,
    persist_result=False,
    on_cancellation=[cancel_jobs, note_cancelled],
)
def quantize_form(
    *,
    name: Annotated[str, shown("name")],
    use_case: Annotated[str, shown("use_case")],
    profile: Annotated[Profile, shown("profile")] = "internal",
    data: Annotated[Data, shown("data")],
    skills: Annotated[list[Skill], shown("skills")],
    people: Annotated[People, shown("people")],
    target: Annotated[Target, shown("target")] = Target(),  # noqa: B008 - frozen, and the form shows what it holds
    training: Annotated[Training, shown("training")] = Training(),  # noqa: B008 - likewise
    how_to_train: Annotated[HowToTrain, shown("how_to_train")] = HowToTrain(),  # noqa: B008 - likewise
    mixing: Annotated[Mixing, shown("mixing")] = Mixing(),  # noqa: B008 - likewise
    more: Annotated[More, shown("more")] = More(),  # noqa: B008 - likewise
) -> State[str]:
    """Write the plan that the form means, and run it as `quantize` would: the same values have the same plan digest."""
    form = filled(
        name=name, use_case=use_case, profile=profile, data=data, skills=skills, people=people, target=target,
        training=training, how_to_train=how_to_train, mixing=mixing, more=more,
    )  # fmt: skip
    path = plan_beside(plan_text(form), plan_of(form), form.data.folder)
    require_good(form, path, measured_here=settings().pool is None)
    return playbook(str(path))
