"""Who answers at an endpoint: both arms, the share of conversations that go to the quantized one, and which conversations those are."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from quantplay.records.base import Digest, Record
from quantplay.records.rollback_rules import RollbackRules

ServedBy = Literal["quantized", "full_precision"]
State = Literal["locked", "canary", "live", "rolled_back", "retired"]
"""locked: a revision is written and serves nobody; rolled_back and retired are final for their revision."""
SERVING = ("canary", "live")
EndpointName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Weight = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ServedArm(Record):
    """An OpenAI-compatible server of one artifact."""

    url: str = Field(pattern=r"^https?://[^\s?#]+/v1$")  # base of its API
    model: str = Field(min_length=1, max_length=200)  # the name it lists
    artifact: Digest  # of the file it must serve
    build: str | None = None  # of the runtime, as the server tells it; None: not checked
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")  # the gateway's variable with its key


class Timeouts(Record):
    """How long an arm may take before its request counts as failed."""

    connect_seconds: Seconds = 2
    first_token_seconds: Seconds = 30
    between_chunks_seconds: Seconds = 30
    total_seconds: Seconds = 600
    slow_first_token_seconds: Seconds = 3  # a streamed answer that begins later counts as slow; it goes on


class TrafficPolicy(Record):
    """What a gateway goes by at one endpoint."""

    endpoint: EndpointName  # the `model` a client asks for
    revision: int = Field(ge=1)
    version: int = Field(ge=1)  # of the pointer; it only rises
    state: State
    weight: float = Field(ge=0, le=1)  # share of conversations for the quantized model
    salt: str = Field(min_length=1)  # one for all of a revision, so that ramping only adds conversations
    kill: bool = False
    full_precision: ServedArm
    quantized: ServedArm | None = None
    timeouts: Timeouts = Timeouts()
    sampling: float = Field(default=0, ge=0, le=1)  # share of requests whose text may be stored, redacted

    @property
    def share(self) -> float:
        """The share that is in force: 0 wherever the quantized model must not answer."""
        return self.weight if self.state in SERVING and not self.kill and self.quantized is not None else 0.0

    def assigned(self, conversation: str) -> ServedBy:
        """The arm of a conversation, the same on every gateway; a larger weight moves none back."""
        return "quantized" if position(self.salt, conversation) < self.share else "full_precision"

    def arm(self, name: ServedBy) -> ServedArm:
        if name == "quantized" and self.quantized is not None:
            return self.quantized
        return self.full_precision


def position(salt: str, conversation: str) -> float:
    """Where a conversation lies in [0, 1), evenly spread; 53 bits of SHA-256."""
    told = hashlib.sha256(f"{len(salt)}:{salt}{conversation}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(told[:8], "big") >> 11) / (1 << 53)


class PolicyRevision(Record):
    """What a release fixes: both arms, and by which rules the quantized one is taken back or gets more."""

    endpoint: EndpointName
    package: Digest | None  # of the hand-off package's manifest; None: nothing was locked, for experiments only
    full_precision: ServedArm
    quantized: ServedArm
    salt: str = Field(min_length=1)
    steps: tuple[Weight, ...] = (0.05, 0.25, 0.5, 1.0)  # shares it may rise to, one after the other
    timeouts: Timeouts = Timeouts()
    sampling: float = Field(default=0, ge=0, le=1)
    rules: RollbackRules = RollbackRules()
    decode_ratio: float | None = Field(
        default=None, gt=0
    )  # time per token over full precision's, as the package was locked


class CounterRow(Record):
    """One counter of one minute as a gateway process has it now: written again it is larger or the same, so nothing counts twice."""

    source: str  # UUID of the gateway process
    endpoint: EndpointName
    revision: int = Field(ge=1)
    minute: int = Field(ge=0)  # Unix time // 60
    arm: ServedBy  # that was assigned, whoever answered
    name: str = Field(pattern=r"^[a-z_]{1,40}(:-?[0-9]{1,6})?$")  # a signal, or a histogram's name and log bucket
    value: int = Field(ge=0)


class RequestRow(Record):
    """One request, for people who look into an incident. Dropped under load; no decision rests on it."""

    at: float  # Unix time of its arrival
    id: str  # of the answer, as the client has it
    endpoint: EndpointName
    revision: int
    assigned: ServedBy
    served: ServedBy
    status: int  # of HTTP, 499 where the client went away
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_ms: float | None = None
    total_ms: float
    finish: str | None = None
    text: str | None = None  # of the prompt; only where sampling is asked for, redacted


class FeedbackRow(Record):
    """What a client told of an answer that another gateway process gave."""

    id: str  # of the answer
    client: str  # digest of the key, which has to be that of who asked
    signal: str
