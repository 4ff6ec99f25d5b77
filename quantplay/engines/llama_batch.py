"""Tokens of many sequences into llama.cpp, rows of logits out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Decode = Callable[[Any, int], NDArray[np.float32]]
"""(llama_batch, rows asked for) -> logits (rows, vocabulary), valid until the next call."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Tokens to append to one sequence."""

    sequence: int
    start: int  # position of the first token
    tokens: Sequence[int]
    first_output: int  # logits are wanted after this token of `tokens` and the later ones
    outputs: int | None = None  # after so many tokens; None: all from the first on


@dataclass(frozen=True, slots=True)
class Rows:
    """Logits of one decoded batch, in order of sequences and of the tokens in each."""

    feed: NDArray[np.int64]  # (n,) index of the feed
    token: NDArray[np.int64]  # (n,) index into the feed's tokens
    logits: NDArray[np.float32]  # (n, vocabulary), valid until the next batch


class Batch:
    """A llama_batch that lies in numpy arrays, so that it is filled by slices and never by a loop over tokens."""

    def __init__(self, size: int) -> None:
        from llama_cpp import llama_cpp as library

        self.size = size
        self.token = np.zeros(size, np.int32)
        self.position = np.zeros(size, np.int32)
        self.sequence = np.zeros(size, np.int32)
        self.output = np.zeros(size, np.int8)
        self.one = np.ones(size, np.int32)
        # seq_id is an array of pointers, one a token, each to that token's list of sequences (of length one here)
        self.pointers = (self.sequence.ctypes.data + 4 * np.arange(size)).astype(np.uint64)
        self.struct = library.llama_batch(
            n_tokens=0,
            token=self.token.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self.position.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self.one.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self.pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self.output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def run(self, feeds: Sequence[Feed], decode: Decode) -> Iterator[Rows]:
        """Decode all tokens of all feeds, in batches of at most `size`; yields the rows of every batch that has any.

        In order of sequence numbers: llama.cpp makes a pass of its own of every sequence that does not follow the one before.
        """
        used = 0
        feed_of = np.zeros(self.size, np.int64)
        token_of = np.zeros(self.size, np.int64)
        for index in sorted(range(len(feeds)), key=lambda index: feeds[index].sequence):
            feed, done = feeds[index], 0
            while done < len(feed.tokens):
                count = min(len(feed.tokens) - done, self.size - used)
                part, numbers = slice(used, used + count), np.arange(done, done + count)
                self.token[part] = feed.tokens[done : done + count]
                self.position[part] = feed.start + numbers
                self.sequence[part] = feed.sequence
                end = len(feed.tokens) if feed.outputs is None else feed.first_output + feed.outputs
                self.output[part] = (numbers >= feed.first_output) & (numbers < end)
                feed_of[part], token_of[part] = index, numbers
                used, done = used + count, done + count
                if used == self.size:
                    yield from self.flush(used, feed_of, token_of, decode)
                    used = 0
        if used:
            yield from self.flush(used, feed_of, token_of, decode)

    def flush(
        self, used: int, feed_of: NDArray[np.int64], token_of: NDArray[np.int64], decode: Decode
    ) -> Iterator[Rows]:
        wanted = np.flatnonzero(self.output[:used])
        self.struct.n_tokens = used
        logits = decode(self.struct, len(wanted))
        if len(wanted):
            yield Rows(feed_of[wanted], token_of[wanted], logits)
