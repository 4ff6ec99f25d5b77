"""What the gate decides, and who signed it."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Digest, Record, Role, Verdict
from quantplay.records.standards import StandardsCheck


class SliceVerdict(Record):
    """One gated quantity: the numbers, the verdict and a sentence."""

    slice: str  # slice name, or "hardest"
    metric: Literal["score", "gold_loss"]
    unit: str  # points | nats
    verdict: Verdict
    reason: str
    items: int
    clusters: int
    baseline: float  # mean: points (0 to 100) or nats
    candidate: float
    drop: float  # baseline - candidate for scores, candidate - baseline for losses: positive is worse
    interval_low: float  # two-sided 90 % interval: its ends are the two one-sided 95 % bounds at one attempt
    interval_high: float
    upper: float  # one-sided upper bound at this attempt's level; pass needs upper <= max_drop
    lower_holm: float  # Holm-adjusted one-sided lower bound; broken needs lower_holm > broken_drop
    max_drop: float
    broken_drop: float
    lost: int  # right before, wrong now
    won: int  # wrong before, right now
    mcnemar_p: float | None  # descriptive
    conversion_drop: float | None = None  # source -> reference, the share of the drop that is not quantization
    items_missing: int | None = None  # inconclusive: how many more items would be needed
    lower_loss: float = 0.0  # Holm-adjusted lower bound, two-sided, against no drop at all; close needs it above 0

    later = frozenset({"lower_loss"})


class EnvelopeCheck(Record):
    """One promise of play 2 against what was measured."""

    name: str  # artifact size, memory, time to first token, tokens per second ...
    limit: float
    measured: float
    unit: str
    met: bool


class Alarm(Record):
    """A number that deserves a look and never decides."""

    name: str
    value: float
    limit: float
    unit: str
    text: str


class GateChange(Record):
    """A gate laxer than one that has already looked at the same model and evaluation set: gate erosion."""

    field: str  # dotted path in the gate
    before: str  # in words; "not gated" where a slice was left out
    now: str
    plan: Digest  # the earlier plan
    looked_at: str  # when that plan looked, ISO 8601


class Waiver(Record):
    """A defect that the plan accepts, with its reason."""

    rule: str
    reason: str
    what: str  # the defect it waives, in a sentence


class TargetCheck(Record):
    """The chip the plan will serve on against the one measured on."""

    target: str | None  # as the plan names it; None where it does not
    measured: str
    same: bool


class Decision(Record):
    """Play 4: the verdict of the frozen gate."""

    later = frozenset({"gate_changes", "standards", "target", "waivers"})

    verdict: Verdict
    envelope_met: bool
    reasons: tuple[str, ...]  # sentences a product owner understands, the deciding one first
    next_play: str  # lock | mixed precision | quantization-aware training | next candidate | more items
    slices: tuple[SliceVerdict, ...]
    envelope: tuple[EnvelopeCheck, ...]
    alarms: tuple[Alarm, ...]
    gate: Digest
    baseline: Digest
    evaluation: Digest
    attempt: int
    attempts: int
    alpha: float  # level of this attempt
    gate_changes: tuple[GateChange, ...] = ()  # where this gate is laxer than an earlier look's
    target: TargetCheck | None = None
    waivers: tuple[Waiver, ...] = ()
    standards: StandardsCheck | None = None  # of the organisation; None where none applied


class Login(Record):
    """How a person was identified who signed by a log-in: what the provider's signed token says."""

    issuer: str  # the OpenID provider
    client: str  # that quantplay is there
    subject: str  # the person, as the provider names them for good
    at: str  # when the token was issued; ISO 8601, UTC
    authenticated_at: str | None = None  # when the person proved to the provider who they are, where it says so


class SignOff(Record):
    """A person's signature under a decision (stage gate), the business case of training, or a package (stage lock)."""

    later = frozenset({"business_case", "login"})

    run: str
    stage: Literal["gate", "training", "lock"]
    role: Role
    verdict: Literal["approve", "reject", "rework"]
    person: str  # as the owners file names them
    comment: str
    gate: Digest
    decision: Digest  # of the Decision record
    manifest: Digest | None = None  # of the package's manifest.json, at stage lock
    business_case: Digest | None = None  # of the plan's business case, at stage training
    nonce: str  # random, used once
    issued_at: str  # ISO 8601, UTC
    expires_at: str
    recorded_at: str
    text: str  # what was signed, byte for byte
    signature: str  # armored SSH signature; or the provider's token over the text with the key that verifies it
    key: str  # fingerprint of the SSH key, SHA256:...; or RFC 7638 thumbprint of the provider's
    login: Login | None = None  # None: identified by an SSH key
    owners: Digest  # of the owners file it was checked against

    @property
    def identified(self) -> str:
        """How it is known who signed."""
        return f"SSH key {self.key}" if self.login is None else f"log-in at {self.login.issuer} as {self.login.subject}"
