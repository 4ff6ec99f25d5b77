"""When the quantized model is taken back, written down before it serves anybody."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from quantplay.records.base import Record

Signal = Literal["error", "thumbs_down", "escalation", "downstream_error", "slow_first_token", "other_arm"]
"""What can go wrong with a conversation, each counted once a conversation."""
SIGNALS: tuple[Signal, ...] = (
    "error", "thumbs_down", "escalation", "downstream_error", "slow_first_token", "other_arm",
)  # fmt: skip
Share = Annotated[float, Field(gt=0, lt=1)]
Ratio = Annotated[float, Field(ge=1, le=10)]
DEFAULT_RATIO = 1.05
DEFAULT_CEILINGS: dict[Signal, float] = {
    "error": 0.05,
    "thumbs_down": 0.25,
    "slow_first_token": 0.25,
    "other_arm": 0.25,
}


class RollbackRules(Record):
    """The rules of the live judge. Rates are shares of conversations."""

    tolerated_ratio: dict[Signal, Ratio] = Field(
        default={},
        description="Signal -> its rate on the quantized model over that on full precision that is still tolerated. "
        "1.05 for signals not named.",
    )
    ceilings: dict[Signal, Share] = Field(
        default=DEFAULT_CEILINGS,
        description="Signal -> share of conversations that is never tolerated, whatever full precision does.",
    )
    negligible: Share = Field(
        default=0.001, description="A rate on the quantized model that is not above this share never takes it back."
    )
    false_rollbacks_a_month: float = Field(
        default=0.01,
        gt=0,
        le=0.2,
        description="Chance that a good model is taken back within a month, all rules together.",
    )
    promotion_margin: float = Field(
        default=1.25,
        gt=1,
        le=10,
        description="More traffic only when no signal's rate is this many times that of full precision.",
    )
    min_conversations: int = Field(
        default=2000,
        ge=1,
        le=100_000_000,
        description="Conversations on the quantized model before it gets more traffic, a stage.",
    )
    max_decode_slowdown: float = Field(
        default=1.25,
        ge=1,
        le=10,
        description="Time per token against full precision, live, over the same ratio when the package was locked.",
    )
    blind_minutes: int = Field(
        default=15,
        ge=1,
        le=1440,
        description="Minutes without any count after which the quantized model is taken back.",
    )
    holdback: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share that stays on full precision after full cut-over, to compare with.",
    )
