"""The turn of harness/speed_load.py for a model that transformers serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from quantplay.engines.transformers_logits import FolderModel
from quantplay.harness.speed_load import Turn, answer_tokens


def measure_turn(model: FolderModel, prompt: Sequence[int], clock: Callable[[], float] = time.perf_counter) -> Turn:
    """Run one turn in every sequence of `model`: one reads the prompt, then the others, then all decode together.

    All sequences are equal, so those that decode are copies of the first; making them is not counted.
    """
    count, steps = model.sequences, answer_tokens(model.context_tokens) - 1
    started = clock()
    tokens = model.read(prompt, 1)
    first, cache = clock(), model.cache
    if count > 1:
        model.read(prompt, count - 1)
    read = clock()
    model.cache = cache
    model.spread(count)
    tokens = tokens * count
    began = clock()
    for _ in range(steps):
        tokens = model.step(tokens)
    return Turn(
        first_token_seconds=first - started,
        prompt_tokens=len(prompt) * count,
        prompt_seconds=read - started,
        steps=steps,
        generation_seconds=clock() - began,
    )
