"""Do two sets of texts share content? Exact on words: spacing and letter case do not hide a copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

FEWEST_WORDS = 5  # a shorter prompt inside a longer text is chance, not a copy
KEY_WORDS = 8  # prompts are looked up by their first words, then compared whole


def words_of(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split())


def prompts_in_texts(prompts: Iterable[tuple[str, str]], texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(id of prompt, id of text) for every prompt (id, prompt) that stands whole in some text (id, text), once each.

    A prompt of fewer than `FEWEST_WORDS` words counts only where it is the whole text. Time is linear in the words of both.
    """
    by_key: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    short: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, prompt in prompts:
        words = words_of(prompt)
        if len(words) < FEWEST_WORDS:
            short[words].append(name)
        else:
            by_key[words[:KEY_WORDS]].append((name, words))
    lengths = sorted({len(key) for key in by_key})
    found: dict[str, str] = {}
    for text_name, text in texts:
        words = words_of(text)
        for name in short.get(words, ()):
            found.setdefault(name, text_name)
        for start in range(len(words)):
            for length in lengths:
                for name, prompt in by_key.get(words[start : start + length], ()):
                    if words[start : start + len(prompt)] == prompt:
                        found.setdefault(name, text_name)
    return list(found.items())
