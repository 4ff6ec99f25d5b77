"""Which plays may follow a candidate that is short, and how many looks at the gate split that takes. Pure."""

from __future__ import annotations

from typing import Literal

from quantplay.plan import Plan
from quantplay.records import Decision

Ahead = Literal["mixed_precision", "training"]
SHORT = ("close", "broken")
MIXES_FOR = "llama.cpp"
"""The runtime that plays 5 and 6 make artifacts for: their types of single tensors are ggml's."""


def looks_needed(part: str) -> int:
    """Attempts that let this part of a plan come to pass after a first candidate."""
    return {"mixed_precision": 2, "business_case": 2, "training": 2}[part]


def play_ahead(plan: Plan, decision: Decision, *, mixed: bool, trained: bool) -> Ahead | None:
    """The play that follows `decision`; None where none is left, allowed or to be tried.

    mixed, trained: whether plays 5 and 6 have been tried. Each needs one more look at the gate split, and training needs a
    business case and texts in the plan; whether it is signed is another question. What only looks around is never trained.
    """
    if decision.verdict not in SHORT or decision.attempt >= decision.attempts:
        return None
    if plan.envelope.runtime != MIXES_FOR:
        return None
    if decision.verdict == "close" and not mixed and not trained:
        return "mixed_precision"
    may_train = plan.business_case is not None and plan.training is not None and plan.profile != "explore"
    return "training" if may_train and not trained else None


def room(attempts: int, *, training: bool) -> str:
    """What the plan's attempts leave room for, in a sentence. training: whether it has a business case."""
    after = (
        "mixed precision after a close one"
        if not training
        else "mixed precision after a close one, or training after a broken one"
    )
    if attempts == 1:
        return (
            "1 attempt: a first candidate that comes short ends the run. `attempts: 2` leaves room for "
            f"{after}, each look tested at half the level."
        )
    if attempts == 2 and training:
        return f"2 attempts leave room for {after}; training after mixed precision takes a third."
    return f"{attempts} attempts leave room for {after}{', and for training after both' if training else ''}."
