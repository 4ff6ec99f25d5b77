"""Which plays may follow a candidate that is short, and how many looks at the gate split that takes. Pure."""

from __future__ import annotations

from typing import Literal

from quantplay.formats import TYPES
from quantplay.plan import Plan
from quantplay.records import Decision

Ahead = Literal["mixed_precision", "training"]
SHORT = ("close", "broken")
MIXED_FORMATS = ("gguf", "compressed-tensors")
"""Formats whose files may hold several types, and are made so by one method."""
ROUNDS_ACTIVATIONS = ("W8A8", "FP8_DYNAMIC")
TRAINED_GROUPS = ("W4A16", "W8A16")
"""Types beside GGUF's whose rounding training simulates."""


def cannot_mix(kind: str) -> str | None:
    """Why nothing can be mixed after an artifact of serving type `kind` came short, a sentence; None where it can."""
    if TYPES[kind].format not in MIXED_FORMATS:
        return f"{kind} is the only type that {TYPES[kind].format} files are made with here, so there is nothing to mix it with."
    if kind in ROUNDS_ACTIVATIONS:
        return f"{kind} also rounds what goes into a layer, and the scan only knows what rounding the weights does."
    return None


def cannot_train(kind: str) -> str | None:
    """Why nothing can be trained after an artifact of serving type `kind` came short, a sentence; None where it can."""
    if TYPES[kind].format != "gguf" and kind not in TRAINED_GROUPS:
        return f"Weights can be trained for {', '.join(TRAINED_GROUPS)} and GGUF's types, and {kind} is none of them."
    return None


def looks_needed(part: str) -> int:
    """Attempts that let this part of a plan come to pass after a first candidate."""
    return {"mixed_precision": 2, "business_case": 2, "training": 2}[part]


def play_ahead(plan: Plan, decision: Decision, *, kind: str, mixed: bool, trained: bool) -> Ahead | None:
    """The play that follows `decision`; None where none is left, allowed or to be tried.

    kind: serving type of the artifact that was judged. mixed, trained: whether plays 5 and 6 have been tried. Each needs one more
    look at the gate split, and training needs a business case and texts in the plan; whether it is signed is another question. What
    only looks around is never trained, and nothing follows what was imported.
    """
    if decision.verdict not in SHORT or decision.attempt >= decision.attempts or plan.imported is not None:
        return None
    if decision.verdict == "close" and not mixed and not trained and cannot_mix(kind) is None:
        return "mixed_precision"
    may_train = (
        plan.business_case is not None and plan.training is not None and plan.profile != "explore"
        and cannot_train(kind) is None
    )  # fmt: skip
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
