"""Answers of many prompts through one context: a finished sequence makes room for the next prompt at once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantplay.engines.llama_batch import Feed, Rows
from quantplay.engines.llama_even import FILL, read_prompts
from quantplay.engines.logits import draw

if TYPE_CHECKING:
    from quantplay.engines.llama_cpp import LlamaModel


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    text: str  # up to, without, the stop string
    tokens: tuple[int, ...]  # all that were generated, with those of the stop string, without the end token
    finish: Literal["stop", "end", "length"]  # stop string; end-of-generation token; max_tokens


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of every prompt."""

    samples: int
    temperature: float  # 0: greedy
    seed: int
    max_tokens: int
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and the samples of it that run together."""

    index: int
    tokens: Sequence[int]
    samples: range


@dataclass(slots=True)
class Answer:
    """One sequence on its way."""

    prompt: Prompt
    sample: int
    sequence: int
    position: int  # of the next token to be fed
    random: np.random.Generator | None
    tokens: list[int] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    ended: Generation | None = None

    def take(self, token: int, request: Request, stops: Sequence[bytes], model: LlamaModel) -> None:
        """Append the chosen token and see whether the answer is complete."""
        if token in model.ends:
            self.finish(len(self.data), "end")
            return
        seen = len(self.data)
        self.tokens.append(token)
        self.data += model.piece(token)
        cuts = [self.data.find(stop, max(0, seen - len(stop) + 1)) for stop in stops]
        if found := [cut for cut in cuts if cut >= 0]:
            self.finish(min(found), "stop")
        elif len(self.tokens) >= request.max_tokens:
            self.finish(len(self.data), "length")

    def finish(self, length: int, why: Literal["stop", "end", "length"]) -> None:
        text = bytes(self.data[:length]).decode(errors="replace")
        self.ended = Generation(text, tuple(self.tokens), why)


def answer(
    model: LlamaModel,
    prompts: Sequence[Sequence[int]],
    request: Request,
    on_done: Callable[[int], None] | None = None,
) -> list[list[Generation]]:
    """`request.samples` answers of every prompt, in the order of the prompts."""
    for index, prompt in enumerate(prompts):
        model.check_length(len(prompt), f"prompt {index}")
        model.check_length(len(prompt) + request.max_tokens, f"prompt {index} with an answer of {request.max_tokens}")
    stops = [stop.encode() for stop in request.stop if stop]
    answers: list[list[Generation | None]] = [[None] * request.samples for _ in prompts]
    missing = [request.samples] * len(prompts)
    waiting = line_up(prompts, request.samples, model.sequences)
    free = list(range(model.sequences))
    running: list[Answer] = []
    model.forget()

    def settle() -> list[Answer]:
        """Those that go on; the others' sequences are free."""
        for done in [one for one in running if one.ended]:
            model.forget(done.sequence)
            free.append(done.sequence)
            index = done.prompt.index
            answers[index][done.sample] = done.ended
            missing[index] -= 1
            if not missing[index] and on_done is not None:
                on_done(index)
        free.sort()
        return [one for one in running if not one.ended]

    while waiting or running:
        starting = start(waiting, free, request)
        begin(model, starting, request, stops)
        running += [one for group in starting for one in group]
        running = settle()
        step(model, running, request, stops)
        running = settle()
    return [[one for one in group if one is not None] for group in answers]


def line_up(prompts: Sequence[Sequence[int]], samples: int, sequences: int) -> deque[Prompt]:
    """Longest prompts first, because prompts of like length share a batch best; at most `sequences` samples together."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    return deque(
        Prompt(index, prompts[index], range(first, min(samples, first + sequences)))
        for index in order
        for first in range(0, samples, sequences)
    )


def start(waiting: deque[Prompt], free: list[int], request: Request) -> list[list[Answer]]:
    """Take from `waiting` what finds room in `free`; the samples of one prompt stay together."""
    starting = []
    while waiting and len(waiting[0].samples) <= len(free):
        prompt = waiting.popleft()
        starting.append(
            [
                Answer(prompt, sample, free.pop(0), len(prompt.tokens), generator(request, prompt.tokens, sample))
                for sample in prompt.samples
            ]
        )
    return starting


def generator(request: Request, prompt: Sequence[int], sample: int) -> np.random.Generator | None:
    if request.temperature == 0:
        return None
    digest = hashlib.sha256(np.asarray(prompt, np.int64).tobytes()).digest()
    return np.random.default_rng([request.seed, sample, *np.frombuffer(digest, np.uint32).tolist()])


def begin(model: LlamaModel, starting: Sequence[Sequence[Answer]], request: Request, stops: Sequence[bytes]) -> None:
    """Read the prompts, each once for all its samples, and give every answer its first token."""
    for rows in read_prompts(model, [(group[0].sequence, group[0].prompt.tokens) for group in starting]):
        take(rows, starting, request, stops, model)
    for group in starting:
        model.share(group[0].sequence, [one.sequence for one in group[1:]])


def step(model: LlamaModel, running: Sequence[Answer], request: Request, stops: Sequence[bytes]) -> None:
    """One more token for every answer."""
    feeds = [Feed(one.sequence, one.position, one.tokens[-1:], 0) for one in running]
    idle = between([one.sequence for one in running])
    feeds += [Feed(sequence, 0, [0], 1) for sequence in idle]  # any token will do
    for rows in model.feed(feeds):
        take(rows, [[one] for one in running], request, stops, model)
    for one in running:
        one.position += 1
    for sequence in idle:
        model.forget(sequence)


def between(sequences: Sequence[int]) -> list[int]:
    """The numbers in gaps of `sequences` that are cheaper to fill than a further pass over the weights (see llama_even)."""
    pairs = pairwise(sorted(sequences))
    return [number for low, high in pairs if high - low - 1 <= FILL for number in range(low + 1, high)]


def take(
    rows: Rows, takers: Sequence[Sequence[Answer]], request: Request, stops: Sequence[bytes], model: LlamaModel
) -> None:
    """Give every answer of `takers[feed]` its next token."""
    row_of = [(row, one) for row, feed in enumerate(rows.feed) for one in takers[feed]]
    for (_, one), token in zip(row_of, choose(rows.logits, row_of, request), strict=True):
        one.take(token, request, stops, model)


def choose(logits: np.ndarray, row_of: Sequence[tuple[int, Answer]], request: Request) -> list[int]:
    """The next token of every (row, answer)."""
    rows = np.array([row for row, _ in row_of])
    if request.temperature == 0:
        return logits.argmax(axis=1)[rows].tolist()
    uniform = np.array([one.random.random() for _, one in row_of if one.random is not None])
    return draw(logits[rows], request.temperature, uniform).tolist()
