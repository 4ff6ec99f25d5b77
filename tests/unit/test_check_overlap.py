"""Overlap by words against the plain definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantplay.plays.overlap import FEWEST_WORDS, prompts_in_texts, words_of

TEXT = st.lists(st.sampled_from(["a", "b", "B", "c,"]), max_size=14).map(" ".join)


def contains(text: str, prompt: str) -> bool:
    """The plain definition: a run of the same words, or the whole text for a short prompt."""
    inside, words = words_of(text), words_of(prompt)
    if len(words) < FEWEST_WORDS:
        return inside == words
    return any(inside[start : start + len(words)] == words for start in range(len(inside)))


@given(prompts=st.lists(TEXT, max_size=6), texts=st.lists(TEXT, max_size=6))
def test_same_as_the_plain_definition(prompts: list[str], texts: list[str]) -> None:
    named_prompts = [(f"p{number}", prompt) for number, prompt in enumerate(prompts)]
    named_texts = [(f"t{number}", text) for number, text in enumerate(texts)]
    found = dict(prompts_in_texts(named_prompts, named_texts))
    assert set(found) == {name for name, prompt in named_prompts if any(contains(text, prompt) for text in texts)}
    assert all(contains(dict(named_texts)[text], dict(named_prompts)[prompt]) for prompt, text in found.items())
