"""Does a calibration sample hold what the model is asked later? Whole, or with a few words changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from quantplay.calibration.words import Run, runs_of, words_of

FEWEST_WORDS = 5  # a shorter prompt inside a longer text is chance, not a copy
KEY_WORDS = 8  # prompts are looked up by their first words, then compared whole
SHARED = 0.7  # of the runs of the shorter one, from which two texts are near copies
FEWEST_RUNS = 8  # of its own, from which that share means something
COMMON = 0.01  # share of the documents from which a run belongs to their common form, and at least in three of them


def plain_words(text: str) -> tuple[str, ...]:
    return tuple(text.casefold().split())


def prompts_in_texts(prompts: Iterable[tuple[str, str]], texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(id of prompt, id of text) for every prompt (id, prompt) that stands whole in some text (id, text), once each.

    Exact on words: spacing and letter case do not hide a copy. A prompt of fewer than `FEWEST_WORDS` words counts only
    where it is the whole text. Time is linear in the words of both.
    """
    by_key: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    short: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, prompt in prompts:
        words = plain_words(prompt)
        if len(words) < FEWEST_WORDS:
            short[words].append(name)
        else:
            by_key[words[:KEY_WORDS]].append((name, words))
    lengths = sorted({len(key) for key in by_key})
    found: dict[str, str] = {}
    for text_name, text in texts:
        words = plain_words(text)
        for name in short.get(words, ()):
            found.setdefault(name, text_name)
        for start in range(len(words)):
            for length in lengths:
                for name, prompt in by_key.get(words[start : start + length], ()):
                    if words[start : start + len(prompt)] == prompt:
                        found.setdefault(name, text_name)
    return list(found.items())


def near_copies_in_texts(
    prompts: Sequence[tuple[str, str, str]], texts: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """(id of prompt, id of text) for every prompt (id, document, prompt) that shares most of its words' runs with a text.

    Measured as shared runs over the runs of the shorter one, so a prompt inside a long text is found and so is a piece of
    a long prompt. Runs that many documents have belong to their form (instructions, field names, a system prompt) and
    prove nothing: they are left out on both sides.
    """
    runs = [runs_of(words_of(prompt)) for _, _, prompt in prompts]
    common = form_of([document for _, document, _ in prompts], runs)
    by_run: dict[Run, list[int]] = defaultdict(list)
    own = [len(found - common) for found in runs]
    for number, found in enumerate(runs):
        for run in found - common:
            by_run[run].append(number)
    pairs: dict[str, str] = {}
    for name, text in texts:
        distinct = runs_of(words_of(text)) - common
        hits = Counter(number for run in distinct for number in by_run.get(run, ()))
        for number, shared in hits.items():
            shorter = min(own[number], len(distinct))
            if shorter >= FEWEST_RUNS and shared >= SHARED * shorter:
                pairs.setdefault(prompts[number][0], name)
    return list(pairs.items())


def form_of(documents: Sequence[str], runs: Sequence[frozenset[Run]]) -> frozenset[Run]:
    """Runs that stand in at least three documents and in `COMMON` of them. Questions about one document count once."""
    by_document: dict[str, set[Run]] = defaultdict(set)
    for document, found in zip(documents, runs, strict=True):
        by_document[document] |= found
    counts = Counter(run for found in by_document.values() for run in found)
    least = max(3.0, COMMON * len(by_document))
    return frozenset(run for run, count in counts.items() if count >= least)
