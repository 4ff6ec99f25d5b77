"""`quantplay pilot`: the example of the repository, signatures included, by people who exist for this purpose only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.cli.run_records import RunRecords
    from quantplay.plan import Plan
    from quantplay.records import Role

PLANS = {name: Path("examples", "pilot", f"plan-{name}.yaml") for name in ("pass", "close", "broken")}
KEYS = "pilot-keys"
WHAT = {
    "gate": "the profile is production, and the gate passed",
    "training": "the model broke, and its plan says what training would win",
    "lock": "the package is written",
}
"""Stage -> why somebody is asked."""


def command(name: str = "pass", live: bool = False, picture: Path | None = None, json: bool = False) -> int:
    from quantplay.cli.run import tell

    if live or picture is not None:
        from quantplay.cli import pilot_live

        return pilot_live.command(name, live, picture, json)
    records, page = run_pilot(name)
    return tell(records, page, json=json)


def run_pilot(name: str) -> tuple[RunRecords, str]:
    """The plan from baseline to package, or as far as it comes; what it left, and its page in Prefect."""
    from quantplay.cli.run import require_runnable, run_and_read
    from quantplay.cli.sign import say
    from quantplay.plan_file import read_plan

    plan = find_plan(name)
    keys = make_people(read_plan(plan))
    require_runnable(plan)
    records, page = run_and_read(plan)
    if records.awaiting is not None:
        say(
            f"\nPeople have to sign here: {WHAT[records.awaiting.stage]}. The pilot signs with keys it made in {keys.parent}. "
            "They are throwaway keys: they show how signing works and prove nothing about any person.\n"
        )
    while records.awaiting is not None and records.stage is not None:
        for role in records.stage.missing:
            sign_as(role, records.awaiting.run, keys / role)
        records, page = run_and_read(plan, records.awaiting.run)
    return records, page


def find_plan(name: str) -> Path:
    """The pilot's plan of this name: below the current folder, or beside the installed sources."""
    if name not in PLANS:
        raise InputError(
            "the pilot has no such plan", value=name, allowed=", ".join(PLANS), fix="quantplay pilot broken"
        )
    for root in (Path.cwd(), Path(__file__).parents[2]):
        if (root / PLANS[name]).is_file():
            return root / PLANS[name]
    raise InputError(
        "the pilot is not here", value=Path.cwd(), allowed=f"a clone of quantplay's repository, with {PLANS[name]}",
        fix="clone the repository and run this there, or `quantplay init` for a plan of your own",
    )  # fmt: skip


def make_people(plan: Plan) -> Path:
    """Folder with a throwaway key for each role, and an owners file that names only them; this process uses that file."""
    from quantplay.engines.whole_file import written_whole
    from quantplay.settings import read_settings
    from quantplay.signoff import ssh

    folder = read_settings().home / KEYS
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    names: dict[Role, str] = {"ml_engineer": plan.owners.ml_engineer, "product_owner": plan.owners.product_owner}
    if plan.owners.engineering_manager is not None:
        names["engineering_manager"] = plan.owners.engineering_manager
    lines = [
        "# Throwaway keys of `quantplay pilot`: they prove nothing about a person. Not for your own plans.",
        "schema: 1",
        "people:",
    ]
    for role, name in names.items():
        public = folder / f"{role}.pub"
        if not ((folder / role).is_file() and public.is_file()):
            for path in (folder / role, public):  # what an interruption left
                path.unlink(missing_ok=True)
            ssh.make_key(folder / role, "throwaway key of quantplay pilot")
        lines += [f"  - name: {name}", f"    roles: [{role}]", "    keys:", f"      - {public.read_text().strip()}"]
    owners = folder / "owners.yaml"
    with written_whole(owners) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.environ["QUANTPLAY_OWNERS"] = str(owners)  # before the settings of this process are read
    return folder


def sign_as(role: Role, run: str, key: Path) -> None:
    """What `quantplay sign RUN --role ROLE --approve --key KEY` records."""
    from quantplay.cli.sign import owners_of_settings, record, signed_here, waiting_run
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        row, waits = waiting_run(store, run)
        owners = owners_of_settings()
        said, armored = signed_here(waits, owners, role, "approve", "signed by the pilot, with a throwaway key", key)
        record(store, row, waits, owners, said, armored)
