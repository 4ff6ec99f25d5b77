"""One turn of the load a plan describes: `batch` requests whose prompt and answer together fill the context.

A turn is what a busy server sees: one request reads its prompt and gets its first token; the others read theirs; then all
decode together, greedily, one token each a step. End-of-text tokens are ignored, so every turn does the same work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantplay.engines.llama_batch import Feed
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.engines.transformers_logits import FolderModel

ANSWER_TOKENS = 32  # at most; less where the context is short


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took. Seconds of wall time."""

    first_token_seconds: float  # one request alone: prompt and first token
    prompt_tokens: int  # of all requests
    prompt_seconds: float  # of all requests, the first one included
    steps: int  # tokens a sequence after the first
    generation_seconds: float


def answer_tokens(context_tokens: int) -> int:
    """How many tokens every sequence generates: a quarter of the context, at most `ANSWER_TOKENS`."""
    return max(2, min(ANSWER_TOKENS, context_tokens // 4))


def fill(model: LlamaModel | FolderModel, text: str, context_tokens: int) -> list[int]:
    """A prompt that leaves exactly the answer's room in the context; the text is repeated when it is short."""
    if not text.strip():
        raise InputError("there is no text to measure speed with", fix="give at least one text")
    tokens = model.tokenize(text)
    wanted = context_tokens - answer_tokens(context_tokens)
    return (tokens * (wanted // len(tokens) + 1))[:wanted]


def measure_turn(model: LlamaModel, prompt: Sequence[int], clock: Callable[[], float] = time.perf_counter) -> Turn:
    """Run one turn in every sequence of `model`, whose cache is emptied first.

    clock: time.process_time for one thread on a machine that others use too.
    """
    model.forget()
    sequences = range(model.sequences)
    started = clock()
    tokens = read_prompts(model, prompt, sequences[:1])
    first = clock()
    tokens += read_prompts(model, prompt, sequences[1:])
    read = clock()
    steps = answer_tokens(model.context_tokens) - 1
    for step in range(steps):
        feeds = [Feed(sequence, len(prompt) + step, tokens[sequence : sequence + 1], 0) for sequence in sequences]
        tokens = [token for rows in model.feed(feeds) for token in rows.logits.argmax(axis=1).tolist()]
    return Turn(
        first_token_seconds=first - started,
        prompt_tokens=len(prompt) * len(sequences),
        prompt_seconds=read - started,
        steps=steps,
        generation_seconds=clock() - read,
    )


def read_prompts(model: LlamaModel, prompt: Sequence[int], sequences: Sequence[int]) -> list[int]:
    """Every sequence reads the prompt; their first tokens."""
    feeds = [Feed(sequence, 0, prompt, len(prompt) - 1) for sequence in sequences]
    return [token for rows in model.feed(feeds) for token in rows.logits.argmax(axis=1).tolist()]
