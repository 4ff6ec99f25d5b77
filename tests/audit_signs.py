"""Signatures for audits; nobody's key."""

from __future__ import annotations

from typing import Literal

from factories import digest

from quantplay.records import Role, SignOff


def approval(stage: Literal["gate", "training", "lock"], role: Role, decision: str | None = None) -> SignOff:
    return SignOff(
        run="r", stage=stage, role=role, verdict="approve", person=f"{role}@example.com", comment="fine", gate=digest("gate"),
        decision=decision or digest("decision"), nonce=f"{stage} {role}", issued_at="2026-11-20T10:00:00Z",
        expires_at="2026-11-30T10:00:00Z", recorded_at="2026-11-20T11:00:00Z", text="t", signature="s", key="SHA256:k",
        owners=digest("owners"),
    )  # fmt: skip
