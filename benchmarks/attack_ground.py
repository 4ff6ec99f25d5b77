"""Where sign-offs are attacked: a real database with runs that wait, people with real keys, and an intruder with a key of his own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.playground import make_playground
from benchmarks.sign_desk import signed_with
from quantplay.signoff import Owners, Statement, read_owners_text, render, ssh
from quantplay.signoff.text import VALID

if TYPE_CHECKING:
    from quantplay.records import Role
    from quantplay.signoff import Standing
    from quantplay.signoff.text import SignVerdict, Stage
    from quantplay.store.registry import Store
    from quantplay.store.requests import Request
    from quantplay.store.signoffs import Awaiting

ROLES: dict[str, str] = {
    "ada": "ml_engineer",
    "grace": "product_owner",
    "mary": "engineering_manager",
    "olaf": "on_call",
}
INTRUDER = "mallory"


def digest() -> str:
    return secrets.token_hex(32)


@dataclass
class Run:
    """A run that waits, with what it waits for."""

    id: UUID
    waits: Awaiting
    plan: Path


@dataclass(kw_only=True)
class Ground:
    """The people and the database."""

    folder: Path
    store: Store
    keys: dict[str, Path] = field(default_factory=dict)
    serial: int = 0

    def owners_text(self, **roles: str) -> str:
        """An owners file; by default of everybody but the intruder."""
        lines = ["schema: 1", "people:"]
        for name, role in (roles or ROLES).items():
            public = self.keys[name].with_suffix(".pub").read_text().strip()
            lines += [f"  - name: {name}", f"    roles: [{role}]", f"    keys: ['{public}']"]
        return "\n".join(lines) + "\n"

    def owners(self, **roles: str) -> Owners:
        return read_owners_text(self.owners_text(**roles).encode(), "owners.yaml")

    def run(self, stage: Stage = "gate", profile: str = "production", name: str | None = None, **gate: float) -> Run:
        """A fresh run that waits at `stage`; its plan is a file of its own."""
        from benchmarks.playground import Playground
        from quantplay.plan_file import read_plan
        from quantplay.store.signoffs import WAITS

        self.serial += 1
        playground = Playground(home=self.folder / "home", folder=self.folder / "plans with spaces")
        path = playground.plan(name or f"plan-{self.serial}", profile=profile, seed=self.serial, **gate)
        plan = read_plan(path)
        body = {
            "plan": plan.digest(),
            "gate": plan.gate_digest(),
            "inputs": {"model": "m" * 64},
            "plan_path": str(path),
        }
        run = self.store.start_run(plan=self.store.put_plan(plan), profile=plan.profile, body=body)
        waits: dict[str, Any] = {
            "stage": stage, "gate": plan.gate_digest(), "decision": digest(), "gate_changes": 0, "trail": {},
            "package": digest() if stage == "lock" else None, "manifest": digest() if stage == "lock" else None,
        }  # fmt: skip
        if stage == "training":
            waits["business_case"] = digest()
        self.store.append_event("quantplay", WAITS, str(run), waits)
        self.store.finish_run(run, outcome="awaiting_signature", exit_code=10)
        found = self.store.awaiting(run)
        assert found is not None
        return Run(run, found, path)

    def statement(
        self, run: Run, person: str, verdict: SignVerdict = "approve", *, role: str | None = None,
        valid: timedelta = VALID, **changes: Any,
    ) -> Statement:  # fmt: skip
        """What `person` would be given to sign, with `changes` an attacker makes."""
        from typing import cast

        from quantplay.handoff.signing import statement_for

        made = statement_for(run.waits, cast("Role", role or ROLES[person]), verdict, person, valid=valid)
        return Statement.model_validate(made.model_dump() | changes)

    def submit(self, run: Run, text: bytes | Statement, signature: str | None = None, *, key: str | None = None) -> str:
        """What `quantplay sign RUN --text FILE --signature FILE` does. `key`: whose key signs, by default the person's."""
        from quantplay.handoff.signing import record_signature

        said = render(text) if isinstance(text, Statement) else text
        if signature is None:
            assert isinstance(text, Statement)
            signature = signed_with(self.keys[key or text.person], said.decode())
        record_signature(self.store, run.waits, self.owners(), said, signature)
        return "recorded"

    def request(self, run: Run, flow_run: str, texts: dict[str, str] | None = None, **changes: Any) -> Request:
        """The form a suspended flow run shows, as the flow leaves it in the database."""
        from quantplay.signoff.paste import label_of
        from quantplay.store.requests import REQUESTED

        statements = [self.statement(run, person) for person in ("ada", "grace")] if texts is None else []
        offered = texts if texts is not None else {label_of(one): render(one).decode() for one in statements}
        count = sum(one.flow_run == flow_run for one in self.store.requests_of(run.id)) + 1
        body: dict[str, Any] = {
            "flow_run": flow_run, "key": f"{run.waits.stage}-{count}", "stage": run.waits.stage,
            "decision": run.waits.decision, "expires_at": "2099-01-01T00:00:00Z", "texts": offered, "page": None,
        } | changes  # fmt: skip
        self.store.append_event("quantplay", REQUESTED, str(run.id), body)
        return self.store.requests_of(run.id)[-1]

    def standing(self, run: Run) -> Standing:
        """What counts, by the owners file the team knows."""
        from quantplay.handoff.signing import stands_now

        return stands_now(self.store, run.waits, self.owners())


@contextmanager
def ground() -> Iterator[Ground]:
    """A home of its own for this process, with a database and a Prefect server; call it before anything reads the settings."""
    top = Path(tempfile.mkdtemp(prefix="quantplay-attacks-"))
    top.chmod(0o755)
    os.environ |= {"QUANTPLAY_HOME": str(top / "home"), "QUANTPLAY_OWNERS": str(top / "owners.yaml")}
    from flows.services import ensure_server, stop_server
    from quantplay.settings import settings
    from quantplay.store.embedded import stop_embedded

    make_playground(top)
    try:
        ensure_server(settings(), lambda text: None)  # before Prefect is imported
        from tasks.workbench import workbench

        made = Ground(folder=top, store=workbench().store)
        for name in (*ROLES, INTRUDER):
            made.keys[name] = top / name
            ssh.make_key(top / name, name)
        (top / "owners.yaml").write_text(made.owners_text())
        yield made
    finally:
        stop_server(settings())
        stop_embedded(top / "home")
        shutil.rmtree(top, ignore_errors=True)
