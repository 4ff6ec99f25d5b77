"""Overlap by words against the plain definitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantplay.calibration.overlap import (
    COMMON,
    FEWEST_RUNS,
    FEWEST_WORDS,
    SHARED,
    near_copies_in_texts,
    plain_words,
    prompts_in_texts,
)
from quantplay.calibration.words import runs_of, words_of

TEXT = st.lists(st.sampled_from(["a", "b", "B", "c,"]), max_size=14).map(" ".join)


def contains(text: str, prompt: str) -> bool:
    """The plain definition: a run of the same words, or the whole text for a short prompt."""
    inside, words = plain_words(text), plain_words(prompt)
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


LONG = st.lists(st.sampled_from([f"w{number}" for number in range(12)]), min_size=8, max_size=26).map(" ".join)


@given(
    prompts=st.lists(LONG, max_size=5), texts=st.lists(LONG, max_size=5), cuts=st.lists(st.integers(0, 4), max_size=5)
)
def test_near_copies_are_those_of_the_plain_definition(prompts: list[str], texts: list[str], cuts: list[int]) -> None:
    """Some texts are made from prompts, whole or cut; documents are shared by every second prompt."""
    for cut, prompt in zip(cuts, prompts, strict=False):
        texts = [*texts, " ".join(["before", *prompt.split()[cut:], "after"])]
    named = [(f"p{number}", f"d{number // 2}", prompt) for number, prompt in enumerate(prompts)]
    found = dict(near_copies_in_texts(named, [(f"t{number}", text) for number, text in enumerate(texts)]))
    runs = {name: set(runs_of(words_of(prompt))) for name, _, prompt in named}
    documents: dict[str, set[tuple[str, ...]]] = {}
    for name, document, _ in named:
        documents.setdefault(document, set()).update(runs[name])
    common = {
        run
        for run in set().union(*documents.values())
        if sum(run in own for own in documents.values()) >= max(3, COMMON * len(documents))
    }

    def near(name: str, text: str) -> bool:
        mine, other = runs[name] - common, set(runs_of(words_of(text))) - common
        shorter = min(len(mine), len(other))
        return shorter >= FEWEST_RUNS and len(mine & other) >= SHARED * shorter

    assert set(found) == {name for name in runs if any(near(name, text) for text in texts)}
    assert all(near(name, texts[int(text[1:])]) for name, text in found.items())
