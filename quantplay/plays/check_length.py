"""Do prompt and answer fit the plan's context? Counted with the model's own tokenizer where that is cheap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from quantplay.errors import Fault
from quantplay.evalset import EvalItem
from quantplay.plan import Decoding, Envelope
from quantplay.plan_file import PlanFile
from quantplay.plays.check_sets import WHOLE_ANSWER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

COUNTED = 200  # the texts with most characters; the one with most tokens is among them but for oddities
BOS = 1


def length_faults(
    file: PlanFile, envelope: Envelope, decoding: Decoding, items: Sequence[EvalItem], tokenizer: Tokenizer
) -> Iterator[Fault]:
    """`tokenizer`: the model's own, without truncation or padding."""
    if not items:
        return
    prompts = token_counts(tokenizer, {item.id: item.prompt for item in items})
    answers = token_counts(tokenizer, {item.id: item.answer for item in items if item.scorer in WHOLE_ANSWER})
    longest = max(prompts, key=lambda name: prompts[name])
    needed = BOS + prompts[longest] + decoding.max_tokens
    if needed > envelope.context_tokens:
        yield file.fault(
            ("envelope", "context_tokens"),
            "envelope.context_tokens: the longest prompt and an answer don't fit",
            value=f"{envelope.context_tokens}; {longest} needs {prompts[longest] + BOS} and decoding.max_tokens is "
            f"{decoding.max_tokens}",
            allowed=f"at least {needed}",
            fix=f"`context_tokens: {needed}`, or shorter answers by `decoding.max_tokens`",
        )
    long = [name for name, count in answers.items() if count > decoding.max_tokens]
    if long:
        most = max(long, key=lambda name: answers[name])
        yield file.fault(
            ("decoding", "max_tokens"),
            f"decoding.max_tokens: {len(long)} expected answers are longer, so nobody could give them",
            value=f"{decoding.max_tokens}, and the answer of {most} is {answers[most]} tokens long",
            allowed=f"at least {answers[most]}",
            fix=f"`max_tokens: {answers[most]}` under `decoding:`, or shorter answers in the items",
        )


def token_counts(tokenizer: Tokenizer, texts: dict[str, str]) -> dict[str, int]:
    """Name -> tokens without special ones, of the longest texts."""
    names = sorted(texts, key=lambda name: len(texts[name]), reverse=True)[:COUNTED]
    encoded = tokenizer.encode_batch([texts[name] for name in names], add_special_tokens=False)
    return {name: len(encoding.ids) for name, encoding in zip(names, encoded, strict=True)}
