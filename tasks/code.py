"""Python of a plan's own task files on a worker: the operator's choice, because a plan comes from whoever may start a run."""

from __future__ import annotations

from prefect.runtime import deployment

from quantplay.errors import Fault, PlanError
from quantplay.plan import Plan
from quantplay.settings import settings


def require_code_allowed(plan: Plan) -> None:
    """Raise PlanError where a deployed run or job would run Python that only its plan allows; a local run does what its user says."""
    if settings().allow_code or deployment.id is None:
        return
    faults = [
        Fault(
            where=f"evaluation.allow_code[{number}]", what="would run Python on this worker", value=name,
            allowed="task files without code, or workers whose operator set QUANTPLAY_ALLOW_CODE=1",
        )
        for number, name in enumerate(plan.evaluation.allow_code, start=1)
    ]  # fmt: skip
    if faults:
        raise PlanError(
            f"plan {plan.name} can't allow itself to run code here", faults=faults,
            fix="have somebody read the code, then run the plan with `quantplay run` on a machine of yours, or set "
            "QUANTPLAY_ALLOW_CODE=1 where the workers start",
        )  # fmt: skip
