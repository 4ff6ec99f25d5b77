"""People with SSH keys in front of a deployed run that waits for them: its form, its texts, and what they give back."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from quantplay.signoff import ssh

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, kw_only=True)
class ShownForm:
    """What Prefect's page shows for a suspended flow run."""

    key: str  # gate-1, gate-2, lock-3 ...
    fields: dict[str, Any]  # name -> JSON schema
    page: str  # Markdown

    @property
    def choices(self) -> list[str]:
        return self.fields["statement"]["enum"]

    def text(self, label: str) -> str:
        """The exact text to sign that stands under this label, as a person would copy it."""
        part = self.page.split(f"**{label.replace('_', chr(92) + '_')}**")[1]
        return part.split("<<'END'\n")[1].split("END\n```")[0]


def shown_form(client: SyncPrefectClient, flow_run: UUID) -> ShownForm:
    state = client.read_flow_run(flow_run).state
    assert state is not None
    keys = state.state_details.run_input_keyset
    assert keys is not None, state
    schema, page = (json.loads(client.read_flow_run_input(flow_run, keys[part])) for part in ("schema", "description"))
    return ShownForm(key=str(state.state_details.pause_key), fields=schema["properties"], page=page)


def give(client: SyncPrefectClient, flow_run: UUID, run_input: dict[str, Any] | None) -> tuple[str, str]:
    """Press Resume with this input: (ACCEPT or REJECT, the reason). The HTTP status says 200 in both cases."""
    answer = client.request("POST", f"/flow_runs/{flow_run}/resume", json={"run_input": run_input}).json()
    return answer["status"], str(answer["details"].get("reason"))


def waits_at(run: FlowRun) -> str | None:
    """Key of the form a suspended flow run shows."""
    return run.state.state_details.pause_key if run.state is not None and run.state.is_paused() else None


def signed_with(key: Path, text: str, namespace: str = ssh.NAMESPACE) -> str:
    """What ssh-keygen prints on somebody's own computer."""
    command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(key)]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()
