"""`quantplay pilot --live` in a terminal: a line that moves with every look, lines that stay, and the closing words."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from quantplay.cli.console import errors_console
from quantplay.live.show.story import AFTER, BEFORE, ENDPOINT, SPOILED, Moment, Story, nearness
from quantplay.live.words import NAMES, evidence

if TYPE_CHECKING:
    from quantplay.live.release_check import Facts

PIPED_SECONDS = 15  # between two lines where nothing can move


class LiveView:
    """Follows the show on standard error."""

    def __init__(self) -> None:
        self.out = errors_console()
        self.live = Live(console=self.out, transient=True, auto_refresh=False)
        self.told_at = float("-inf")
        self.marks = 0

    def __enter__(self) -> Self:
        if self.out.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.out.print(f"[dim]{escape(text)}[/]")

    def watch(self, story: Story) -> None:
        moment = story.moments[-1]
        for mark in story.marks[self.marks :]:
            if mark.kind in ("promotion", "rollback"):
                reason = " ".join(moment.verdict.reasons) if moment.verdict is not None else ""
                style = "green" if mark.kind == "promotion" else "bold red"
                self.out.print(f"[{style}]judge: {escape(mark.words)}.[/] {escape(reason)}")
        self.marks = len(story.marks)
        if self.out.is_terminal:
            self.live.update(table(story, moment), refresh=True)
        elif time.monotonic() - self.told_at >= PIPED_SECONDS:
            self.told_at = time.monotonic()
            self.out.print(escape(", ".join(f"{name} {value}" for name, value in cells(story, moment))))


def cells(story: Story, moment: Moment) -> list[tuple[str, str]]:
    """What is known after a look."""
    told = []
    if moment.verdict is not None and moment.verdict.readings:
        near = max(moment.verdict.readings, key=nearness)
        level = f"{NAMES[near.signal]}, {evidence(near.log_e)} of {evidence(near.log_threshold)}"
        told = [("strongest evidence", level if near.log_e > 0 else "none yet")]
    says = " ".join(moment.verdict.reasons) if moment.verdict is not None else "Nothing left to judge."
    return [
        ("after", f"{moment.at - story.marks[0].at:.0f} s"),
        ("traffic", f"{100 * moment.share:g} % to the quantized model"),
        ("quantized", f"{moment.count('quantized', 'conversations'):,} conversations"),
        ("full precision", f"{moment.count('full_precision', 'conversations'):,} conversations"),
        ("failed requests", f"{story.tally.failed}"),
        *told,
        ("judge", f"{moment.verdict.action + '. ' if moment.verdict is not None else ''}{says}"),
    ]


def table(story: Story, moment: Moment) -> Table:
    found = Table.grid(padding=(0, 2))
    for name, value in cells(story, moment):
        found.add_row(f"[dim]{name}[/]", escape(value))
    return found


def seconds_to_rollback(story: Story) -> float | None:
    swap, ended = story.mark("swap"), story.mark("rollback")
    return None if swap is None or ended is None else ended.at - swap.at


def title(story: Story) -> str:
    """Of the picture."""
    seconds, count = seconds_to_rollback(story), story.conversations_to_rollback()
    if story.mark("swap") is None:
        return "The quantized model was taken back before anything was damaged"
    if seconds is None:
        return "A damaged model was swapped in and was not taken back in the time there was"
    return (
        f"A damaged model was swapped in; the judge took it back after {seconds:.0f} s\n"
        f"{count:,} conversations on the damaged model; {story.tally.requests:,} requests in all, {story.tally.failed} failed"
    )


def closing(story: Story, target: Path) -> list[str]:
    """What came out, in words, and how to look further."""
    tally, seconds, count = story.tally, seconds_to_rollback(story), story.conversations_to_rollback()
    lines = [""]
    if story.rollback is not None:
        lines += ["The judge's reason: " + " ".join(story.rollback.reasons), ""]
    lines += (
        [f"From the swap to the rollback: {seconds:.0f} s, {count:,} conversations on the damaged model."]
        if seconds is not None
        else []
    )
    if story.mark("swap") is None:
        lines += ["It was taken back before anything was damaged."]
    elif seconds is None:
        lines += [
            "The judge had too little traffic to see the damage: this machine is slow or busy. Try again when it is not."
        ]
    lines += [f"Right answers, {text}." for text in rights(story)]
    lines += [
        f"Requests: {tally.requests:,} in {tally.conversations:,} conversations, {tally.failed} failed.",
        "How it came about: quantplay traffic pilot. What is open now: quantplay registry incidents. Real endpoints: docs/release.md.",
        f"picture: {target}",
    ]
    return lines


def rights(story: Story) -> list[str]:
    """By the items' own references, as users had them."""
    shown = (
        (BEFORE, "quantized", "quantized model"), (SPOILED, "quantized", "damaged model"),
        (AFTER, "full_precision", "everybody again on full precision"),
    )  # fmt: skip
    return [
        f"{name}: {100 * found:.0f} % of {story.tally.asked[phase, arm]:,}"
        for phase, arm, name in shown
        if (found := story.tally.share_right(phase, arm)) is not None
    ]


def body(story: Story, facts: Facts, target: Path) -> dict[str, Any]:
    """JSON-safe."""
    last = story.moments[-1] if story.moments else None
    zero = story.marks[0].at
    return {
        "endpoint": ENDPOINT,
        "revision": story.revision,
        "package": facts.manifest,
        "marks": [{"kind": one.kind, "seconds": round(one.at - zero, 1), "words": one.words} for one in story.marks],
        "rollback": None
        if story.rollback is None
        else {"cause": story.rollback.cause, "reasons": list(story.rollback.reasons)},
        "seconds_to_rollback": seconds_to_rollback(story),
        "conversations_to_rollback": story.conversations_to_rollback(),
        "requests": story.tally.requests,
        "conversations": story.tally.conversations,
        "failed": story.tally.failed,
        "right": rights(story),
        "share_at_the_end": None if last is None else last.share,
        "picture": str(target),
    }
