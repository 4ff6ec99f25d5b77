"""People with real SSH keys, an owners file that names them, and their signatures."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantplay.plan import BusinessCase
from quantplay.records import Decision, Digest, Role, SignOff
from quantplay.signoff import Statement, new_statement, read_owners, record_of, render, ssh
from quantplay.signoff.text import SignVerdict, Stage

RUN = "3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11"
GATE, DECISION, MANIFEST = "a" * 64, "b" * 64, "c" * 64


@dataclass(frozen=True, kw_only=True)
class Signer:
    name: str
    key: Path  # private

    @property
    def public(self) -> str:
        """The line of the .pub file."""
        return self.key.with_name(f"{self.key.name}.pub").read_text().strip()


@dataclass(frozen=True, kw_only=True)
class Team:
    """Ada is ML engineer, Grace product owner; `owners` names both."""

    folder: Path
    owners: Path
    ada: Signer
    grace: Signer

    def signer(self, role: Role) -> Signer:
        return self.ada if role == "ml_engineer" else self.grace


def made_signer(folder: Path, name: str) -> Signer:
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / name.split("@")[0].replace(" ", "-")
    ssh.make_key(key, f"test key of {name}")
    return Signer(name=name, key=key)


def owners_text(*people: tuple[Signer, str]) -> str:
    """An owners file; each person with their roles, comma-separated."""
    lines = ["schema: 1", "people:"]
    for signer, roles in people:
        lines += [f"  - name: {signer.name}", f"    roles: [{roles}]", f"    keys:\n      - {signer.public}"]
    return "\n".join(lines) + "\n"


def made_team(folder: Path) -> Team:
    ada, grace = made_signer(folder, "ada@example.com"), made_signer(folder, "Grace Hopper")
    owners = folder / "owners.yaml"
    owners.write_text(owners_text((ada, "ml_engineer"), (grace, "product_owner")))
    return Team(folder=folder, owners=owners, ada=ada, grace=grace)


def made_statement(
    role: Role, person: str, *, stage: Stage = "gate", verdict: SignVerdict = "approve", run: str = RUN,
    gate: Digest = GATE, decision: Digest = DECISION, manifest: Digest | None = MANIFEST, comment: str = "",
    gate_changes: int = 0, now: datetime | None = None,
) -> Statement:  # fmt: skip
    return new_statement(
        run=run, stage=stage, role=role, verdict=verdict, person=person, gate=gate, decision=decision,
        manifest=manifest if stage == "lock" else None, gate_changes=gate_changes, comment=comment, now=now,
    )  # fmt: skip


def signed(team: Team, role: Role, **more: object) -> SignOff:
    """A recorded signature, as `quantplay sign` leaves it."""
    signer = team.signer(role)
    statement = made_statement(role, signer.name, **more)  # type: ignore[arg-type]
    text = render(statement)
    owners = read_owners(team.owners)
    return record_of(
        statement, text=text, signature=ssh.sign(text, signer.key), key=ssh.fingerprint_of_key(signer.key),
        owners=owners, now=datetime.now(UTC),
    )  # fmt: skip


def signed_business_case(
    signer: Signer, owners: Path, run: str, decision: Decision, case: BusinessCase, instead: Mapping[str, Any] | None = None
) -> SignOff:  # fmt: skip
    """An engineering manager's recorded signature under what training costs. instead: fields of the text that say something else."""
    about: dict[str, Any] = {
        "run": run, "gate": decision.gate, "decision": decision.digest(), "business_case": case.digest(), "verdict": "approve",
        "gate_changes": len(decision.gate_changes), **(instead or {}),
    }  # fmt: skip
    statement = new_statement(stage="training", role="engineering_manager", person=signer.name, manifest=None, **about)
    text = render(statement)
    return record_of(
        statement, text=text, signature=ssh.sign(text, signer.key), key=ssh.fingerprint_of_key(signer.key),
        owners=read_owners(owners), now=datetime.now(UTC),
    )  # fmt: skip


def signed_by_hand(text: Path, key: Path) -> Path:
    """What somebody elsewhere does, with nothing but OpenSSH: TEXT.sig beside the text."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "quantplay-signoff", "-f", str(key), str(text)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return text.with_name(f"{text.name}.sig")
