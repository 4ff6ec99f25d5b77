"""What is deployed: the flows of deployments/prefect.yaml and the automations of deployments/automations.yaml.

The server keeps a variable with a digest of both files and of the code, so that a second `quantplay up` changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import quantplay
from quantplay.errors import InternalError, shorten

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation

TOP = Path(__file__).resolve().parents[1]  # of a checkout, or site-packages
FOLDER = TOP / "deployments"
PREFECT_FILE = FOLDER / "prefect.yaml"
AUTOMATIONS_FILE = FOLDER / "automations.yaml"
TAG = "quantplay"  # every deployment carries it
VARIABLE = "quantplay_deployed"


def state_of_code() -> dict[str, str]:
    """Version and digest of everything that forms and deployments are made from."""
    digest = hashlib.sha256()
    sources = [path for part in ("quantplay", "flows", "tasks") for path in (TOP / part).rglob("*.py")]
    for path in sorted([*sources, PREFECT_FILE, AUTOMATIONS_FILE]):
        digest.update(f"{path.relative_to(TOP)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return {"version": quantplay.__version__, "digest": digest.hexdigest()}


async def ensure_deployed(client: PrefectClient) -> list[str]:
    """Deploy what is missing or from other code; returns what was changed, in words."""
    from prefect.variables import Variable

    wanted = state_of_code()
    known = await Variable.aget(VARIABLE)
    changed = []
    if known != wanted or set(full_names()) - {name for name, _ in await deployed(client)}:
        deploy()
        changed.append(f"{len(declared())} deployments")
    changed += await ensure_automations(client, again=known != wanted)
    if known != wanted:
        await Variable.aset(VARIABLE, wanted, overwrite=True)
    return changed


def declared() -> list[dict[str, Any]]:
    """The entries of prefect.yaml."""
    return yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))["deployments"]


def full_names() -> list[str]:
    """Flow and deployment, as `prefect deployment run` takes them: several deployments have one name."""
    return [f"{entry['entrypoint'].rsplit('.', 1)[1].replace('_', '-')}/{entry['name']}" for entry in declared()]


async def deployed(client: PrefectClient) -> list[tuple[str, DeploymentResponse]]:
    """Deployments of ours that the server has, by full name."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    flows = {flow.id: flow.name for flow in await client.read_flows(deployment_filter=ours)}
    found = await client.read_deployments(deployment_filter=ours)
    return sorted(((f"{flows.get(one.flow_id, '?')}/{one.name}", one) for one in found), key=lambda pair: pair[0])


def deploy() -> None:
    """`prefect deploy --all`, as anybody may run it by hand."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=FOLDER,
        env={**os.environ, "PREFECT_LOGGING_LEVEL": "WARNING"},
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise InternalError(
            "the flows can't be deployed",
            value=shorten((done.stderr.strip() or done.stdout.strip())[-1500:], 800),
            fix=f"run it by hand and read what it says: prefect deploy --all --no-prompt --prefect-file {PREFECT_FILE}",
        )


async def ensure_automations(client: PrefectClient, *, again: bool) -> list[str]:
    """Make the automations that are missing, by name; `again`: also bring those that are there up to date.

    Whether one is switched on stays as the operator left it.
    """
    from prefect.events.schemas.automations import AutomationCore

    changed = []
    for entry in yaml.safe_load(AUTOMATIONS_FILE.read_text(encoding="utf-8"))["automations"]:
        wanted = AutomationCore.model_validate(entry)
        found = await client.read_automations_by_name(wanted.name)
        if not found:
            await client.create_automation(wanted)
            changed.append(f"automation {wanted.name}")
        elif again:
            await client.update_automation(found[0].id, wanted.model_copy(update={"enabled": found[0].enabled}))
    return changed


async def automations(client: PrefectClient) -> list[Automation]:
    """Those of ours that the server has: from automations.yaml, and the triggers of the deployments."""
    names = {entry["name"] for entry in yaml.safe_load(AUTOMATIONS_FILE.read_text(encoding="utf-8"))["automations"]}
    names |= {trigger["name"] for entry in declared() for trigger in entry.get("triggers", ())}
    return [one for one in await client.read_automations() if one.name in names]
