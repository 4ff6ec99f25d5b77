"""A plan may not allow itself to run Python on a worker: only the operator's setting does; a local run does what its plan says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_samples import edited

from quantplay import settings as settings_module
from quantplay.errors import PlanError
from quantplay.plan import Plan
from quantplay.plan_file import plan_from_text
from tasks.code import require_code_allowed

HELDOUT = "  heldout: heldout.jsonl"


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    settings_module.settings.cache_clear()
    yield
    settings_module.settings.cache_clear()


def plan(more: str) -> Plan:
    found = plan_from_text(edited(HELDOUT, f"{HELDOUT}\n  tasks: [more/sums.yaml]{more}"), Path("plan.yaml")).plan
    assert found is not None
    return found


@pytest.mark.parametrize("deployed", [True, False])
@pytest.mark.parametrize("operator", ["", "0", "1"])
@pytest.mark.parametrize("code", [True, False])
def test_who_may_run_code(monkeypatch: pytest.MonkeyPatch, deployed: bool, operator: str, code: bool) -> None:
    monkeypatch.setenv("QUANTPLAY_ALLOW_CODE", operator)
    if deployed:  # as Prefect's runtime reads it
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "9d8b0a2e-0000-4000-8000-000000000000")
    asked = plan("\n  allow_code: [sums.yaml]" if code else "")
    if not (deployed and code and operator != "1"):
        require_code_allowed(asked)
        return
    with pytest.raises(PlanError, match="QUANTPLAY_ALLOW_CODE=1") as caught:
        require_code_allowed(asked)
    assert [fault.value for fault in caught.value.faults] == ["sums.yaml"]
