"""Is the chip that was measured the one that will serve? Another one is flagged, never silently accepted."""

from __future__ import annotations

from fnmatch import fnmatchcase

from quantplay.plan import Envelope
from quantplay.records import Hardware, TargetCheck

RULE = "envelope.target_chip"
HERE = "this machine"
UNLIKE = (
    "amd epyc 9654 96-core processor", "intel(r) xeon(r) platinum 8480+", "apple m3 max", "amd instinct mi300x", "tesla t4",
    "nvidia a100-sxm4-80gb", "nvidia h100 80gb hbm3", "nvidia l4",
)  # fmt: skip
"""Chips of other makers or generations, as their systems name them: what one of them executes says nothing of the next."""


def chip_of(envelope: Envelope, hardware: Hardware) -> str:
    """Name of the chip that does the work."""
    if envelope.device == "cpu" or not hardware.accelerators:
        return hardware.cpu
    return hardware.accelerators[0].split(",")[0]


def check_target(envelope: Envelope, measured: str) -> TargetCheck:
    """The plan's chip against the one `measured` on: * and ? stand for anything, case and spacing don't count."""
    wanted = envelope.target_chip
    same = wanted is not None and (plain(wanted) == HERE or fnmatchcase(plain(measured), plain(wanted)))
    return TargetCheck(target=wanted, measured=measured, same=same)


def names_a_chip(wanted: str | None) -> bool:
    """Whether a target declares anything: a pattern that several of UNLIKE match names none."""
    if wanted is None or plain(wanted) == HERE:
        return wanted is not None
    return sum(fnmatchcase(one, plain(wanted)) for one in UNLIKE) <= 1


def plain(name: str) -> str:
    return " ".join(name.casefold().split())


def target_sentence(check: TargetCheck) -> str:
    """What a difference means, for people."""
    if check.target is None:
        return f"The plan does not say which chip the model will be served on; speed and memory were measured on {check.measured}."
    return f"Speed and memory were measured on {check.measured}, not on {check.target}, which will serve the model."
