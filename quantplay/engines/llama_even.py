"""Feeds of nearly equal length together, so that llama.cpp takes them in one pass over the weights.

Where every sequence has a cache of its own, llama.cpp's `split_equal` puts into one pass only sequences of consecutive numbers,
and of each as many tokens as the shortest has. So a feed a few tokens shorter than its neighbours is filled up. What is filled
in comes last, changes nothing before it, and has to be removed from the cache where the sequence goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from quantplay.engines.llama_batch import Feed, Rows

if TYPE_CHECKING:
    from quantplay.engines.llama_cpp import LlamaModel

FILL = 8  # tokens or sequences at most; on the pilot a pass costs as much as about ten tokens


def read_prompts(model: LlamaModel, prompts: Sequence[tuple[int, Sequence[int]]]) -> Iterator[Rows]:
    """Feed (sequence, tokens) into empty sequences; yields the logits after each prompt's last token."""
    feeds = [Feed(sequence, 0, tokens, len(tokens) - 1) for sequence, tokens in prompts]
    yield from feed_evenly(model, feeds, FILL if model.can_forget_tails else 0)
    if model.can_forget_tails:
        for sequence, tokens in prompts:
            model.forget(sequence, len(tokens))


def feed_evenly(model: LlamaModel, feeds: Sequence[Feed], fill: int = FILL) -> Iterator[Rows]:
    """As `model.feed`, with up to `fill` tokens too many in the cache of a sequence. Best in order of sequence numbers."""
    for part in alike([len(feed.tokens) for feed in feeds], fill, model.batch.size):
        longest = max(len(feeds[index].tokens) for index in part)
        for rows in model.feed([filled(feeds[index], longest, model.context_tokens) for index in part]):
            yield Rows(rows.feed + part.start, rows.token, rows.logits)


def filled(feed: Feed, length: int, context_tokens: int) -> Feed:
    """`feed` with its last token repeated up to `length` tokens, as far as the context reaches."""
    missing = min(length, context_tokens - feed.start) - len(feed.tokens)
    if missing <= 0 or not feed.tokens:
        return feed
    tokens = [*feed.tokens, *[feed.tokens[-1]] * missing]
    return replace(feed, tokens=tokens, outputs=len(feed.tokens) - feed.first_output)


def alike(lengths: Sequence[int], fill: int, room: int) -> Iterator[range]:
    """Cut `lengths` into parts that differ by at most `fill` and, filled up, have at most `room` tokens."""
    start, low, high = 0, 0, 0
    for index, length in enumerate(lengths):
        lower, higher = (min(low, length), max(high, length)) if index > start else (length, length)
        if index > start and (higher - lower > fill or (index + 1 - start) * higher > room):
            yield range(start, index)
            start, lower, higher = index, length, length
        low, high = lower, higher
    if lengths:
        yield range(start, len(lengths))
