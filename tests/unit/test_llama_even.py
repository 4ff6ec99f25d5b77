"""Feeds of nearly equal length are put together and filled up: nothing is lost, nothing asked for twice, nothing overflows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quantplay.engines.llama_answers import between
from quantplay.engines.llama_batch import Feed
from quantplay.engines.llama_even import FILL, alike, filled

LENGTHS = st.lists(st.integers(1, 700), max_size=40)


@given(lengths=LENGTHS, fill=st.integers(0, 10), room=st.integers(1, 512))
def test_parts_cover_everything_once_and_stay_alike(lengths: list[int], fill: int, room: int) -> None:
    parts = list(alike(lengths, fill, room))
    assert [index for part in parts for index in part] == list(range(len(lengths)))
    for part in parts:
        inside = [lengths[index] for index in part]
        assert max(inside) - min(inside) <= fill
        assert len(inside) == 1 or len(inside) * max(inside) <= room
    for part, following in pairwise(parts):  # no cut without a reason
        joined = [*(lengths[index] for index in part), lengths[following.start]]
        assert max(joined) - min(joined) > fill or len(joined) * max(joined) > room


@given(
    tokens=st.lists(st.integers(0, 999), max_size=20),
    start=st.integers(0, 30),
    length=st.integers(0, 40),
    context=st.integers(50, 60),
)
def test_a_filled_feed_begins_as_before_and_asks_for_the_same(
    tokens: list[int], start: int, length: int, context: int
) -> None:
    first_output = max(0, len(tokens) - 1)
    feed = filled(Feed(3, start, tokens, first_output), length, context)
    assert list(feed.tokens[: len(tokens)]) == tokens
    assert len(feed.tokens) == (max(len(tokens), min(length, context - start)) if tokens else 0)
    end = len(feed.tokens) if feed.outputs is None else feed.first_output + feed.outputs
    assert (feed.first_output, end) == (first_output, len(tokens))


@given(sequences=st.sets(st.integers(0, 63)))
def test_only_short_gaps_are_filled(sequences: set[int]) -> None:
    idle = set(between(sorted(sequences)))
    assert not idle & sequences
    everything = sorted(sequences | idle)
    gaps = [high - low - 1 for low, high in pairwise(everything)]
    assert all(gap == 0 or gap > FILL for gap in gaps)
