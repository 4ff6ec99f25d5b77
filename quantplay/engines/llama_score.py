"""How likely a model finds given continuations: teacher forcing, many at a time, prompts shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantplay.engines.llama_batch import Feed, Rows
from quantplay.engines.llama_even import feed_evenly, read_prompts
from quantplay.engines.logits import log_probabilities

if TYPE_CHECKING:
    from quantplay.engines.llama_cpp import LlamaModel

Pair = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Scored:
    """One continuation."""

    log_probability: float  # nats, summed over its tokens
    greedy: bool  # every token is the most likely one
    tokens: int


@dataclass(slots=True)
class Sum:
    """A continuation on its way."""

    log_probability: float = 0.0
    greedy: bool = True


@dataclass(frozen=True, slots=True)
class Shared:
    """A prompt and the pairs that continue it. Their first tokens need the prompt only; each that is `longer` runs in a
    sequence of its own."""

    prompt: Sequence[int]
    pairs: tuple[int, ...]
    longer: tuple[int, ...]  # those of `pairs` with more than one token, longest first

    @property
    def sequences(self) -> int:
        return max(1, len(self.longer))


def score(model: LlamaModel, pairs: Sequence[Pair], on_done: Callable[[int], None] | None = None) -> list[Scored]:
    """log p(continuation | prompt) in nats of every (prompt, continuation), in their order.

    An empty continuation scores 0. The first token's distribution comes from the prompt, which is decoded once for all
    its continuations.
    """
    for index, (prompt, continuation) in enumerate(pairs):
        model.check_length(len(prompt), f"prompt {index}")
        model.check_length(len(prompt) + len(continuation), f"prompt {index} with its continuation")
    sums = [Sum() for _ in pairs]
    for wave in waves(group(pairs, model.sequences), model.sequences):
        run(model, wave, pairs, sums)
        if on_done is not None:
            for shared in wave:
                for index in shared.pairs:
                    on_done(index)
    return [Scored(total.log_probability, total.greedy, len(pair[1])) for total, pair in zip(sums, pairs, strict=True)]


def group(pairs: Sequence[Pair], sequences: int) -> list[Shared]:
    """Pairs by prompt, in at most `sequences` sequences each; longest prompt first, because like lengths share a batch best,
    and prompts without longer continuations last, because their sequences would lie between the others'."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index, (prompt, continuation) in enumerate(pairs):
        if continuation:
            by_prompt.setdefault(tuple(prompt), []).append(index)
    shared = []
    for prompt, indices in by_prompt.items():
        single = [index for index in indices if len(pairs[index][1]) == 1]
        longer = sorted((i for i in indices if len(pairs[i][1]) > 1), key=lambda i: -len(pairs[i][1]))
        for first in range(0, max(1, len(longer)), sequences):
            part = longer[first : first + sequences]
            shared.append(Shared(prompt, (*(single if first == 0 else ()), *part), tuple(part)))
    return sorted(shared, key=lambda one: (not one.longer, -len(one.prompt)))


def waves(groups: Sequence[Shared], sequences: int) -> Iterator[list[Shared]]:
    """Fill the sequences from the front of the list, wave by wave."""
    wave: list[Shared] = []
    used = 0
    for shared in groups:
        if used + shared.sequences > sequences:
            yield wave
            wave, used = [], 0
        wave.append(shared)
        used += shared.sequences
    if wave:
        yield wave


def run(model: LlamaModel, wave: Sequence[Shared], pairs: Sequence[Pair], sums: list[Sum]) -> None:
    """Prompts first, in the first sequences; then all longer continuations, the longest of each prompt in the prompt's own."""
    model.forget()
    for rows in read_prompts(model, [(sequence, one.prompt) for sequence, one in enumerate(wave)]):
        scored = [(row, index) for row, feed in enumerate(rows.feed) for index in wave[feed].pairs]
        add(rows, [row for row, _ in scored], [index for _, index in scored], [0] * len(scored), pairs, sums)
    sequence_of = {one.longer[0]: sequence for sequence, one in enumerate(wave) if one.longer}
    others = sorted((index for one in wave for index in one.longer[1:]), key=lambda index: -len(pairs[index][1]))
    sequence_of |= {index: len(wave) + place for place, index in enumerate(others)}
    for sequence, one in enumerate(wave):
        model.share(sequence, [sequence_of[index] for index in one.longer[1:]])
    longer = list(sequence_of)
    feeds = [Feed(sequence_of[index], len(pairs[index][0]), pairs[index][1][:-1], 0) for index in longer]
    for rows in feed_evenly(model, feeds):
        indices = [longer[feed] for feed in rows.feed]
        add(rows, list(range(len(indices))), indices, (rows.token + 1).tolist(), pairs, sums)


def add(
    rows: Rows,
    row_of: Sequence[int],
    indices: Sequence[int],
    places: Sequence[int],
    pairs: Sequence[Pair],
    sums: list[Sum],
) -> None:
    """Add the token at `places[k]` of continuation `indices[k]`, predicted by row `row_of[k]`."""
    targets = np.array([pairs[index][1][place] for index, place in zip(indices, places, strict=True)])
    logits = rows.logits[np.array(row_of)]
    found = log_probabilities(logits, targets)
    best = logits.argmax(axis=1) == targets
    for index, value, top in zip(indices, found.tolist(), best.tolist(), strict=True):
        sums[index].log_probability += value
        sums[index].greedy &= top
