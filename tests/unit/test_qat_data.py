"""Training texts: packing loses nothing, the order depends on seed and step alone, questions are found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.evalset import EvalItem, TextSample
from quantplay.qat.data import TextTokens, answer_tokens, batches, dev_text, leaks_of, pack

ROW = 32
texts = st.lists(
    st.lists(st.integers(1, 99), min_size=2, max_size=ROW).map(TextTokens), min_size=1, max_size=40
)  # fmt: skip


class Letters:
    """A tokenizer of one token a character."""

    def __call__(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[1, *map(ord, text)] for text in texts]}


def item(name: str, prompt: str, answer: str) -> EvalItem:
    return EvalItem(id=name, slice="s", document=name, prompt=prompt, answer=answer, scorer="exact")


@settings(max_examples=60, deadline=None)
@given(texts)
def test_every_text_is_packed_once_and_whole(sequences: list[TextTokens]) -> None:
    packed = pack(sequences, ROW)
    found = []
    for tokens, positions, counted in zip(packed.tokens, packed.positions, packed.counted, strict=True):
        starts = [*np.flatnonzero(positions == 0).tolist(), ROW]
        for start, end in itertools.pairwise(starts):
            np.testing.assert_array_equal(positions[start:end], np.arange(end - start))
            if counted[start:end].any():
                assert counted[start:end].all()
                found.append(tokens[start:end].tolist())
    assert sorted(found) == sorted(one.tokens for one in sequences)
    follows = packed.labels >= 0
    np.testing.assert_array_equal(packed.labels[:, :-1][follows[:, :-1]], packed.tokens[:, 1:][follows[:, :-1]])
    assert follows.sum() == sum(len(one.tokens) - 1 for one in sequences)


@settings(max_examples=30, deadline=None)
@given(texts, st.integers(0, 99), st.integers(0, 25), st.integers(1, 5))
def test_a_stream_that_starts_late_goes_on_as_the_whole_one(
    sequences: list[TextTokens], seed: int, start: int, rows: int
) -> None:
    whole = itertools.islice(batches(sequences, rows=rows, row_tokens=ROW, seed=seed, start=0), start, start + 4)
    late = itertools.islice(batches(sequences, rows=rows, row_tokens=ROW, seed=seed, start=start), 4)
    for one, other in zip(whole, late, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.counted, other.counted)


def test_only_the_answer_counts_on_dev() -> None:
    (found,) = answer_tokens(Letters(), [item("a", "2+2 =", "4")], ROW)
    assert len(found.tokens) == len("2+2 = 4") + 1
    packed = pack([found], ROW)
    # the position of the last prompt character predicts the space, and so on to the position of the answer's last one
    assert np.flatnonzero(packed.counted[0]).tolist() == [5, 6, 7]


def test_a_dev_split_that_fits_no_row_is_refused() -> None:
    with pytest.raises(InputError, match=r"raise training\.row_tokens"):
        dev_text(Letters(), [item("a", "x" * 50, "y")], ROW)


def test_questions_are_found_whole_and_nearly() -> None:
    words = "the grey desk of order six hundred is missing from the invoice again and nobody answers my letters"
    asked = [item(f"q{number}", f"{words} {number} {' '.join('abcdefghij')}", "yes") for number in range(2)]
    samples = [
        TextSample("clean", "a chair came in time"),
        TextSample("copy", f"Hello. {asked[0].prompt} Bye"),
        TextSample("near", asked[1].prompt.replace("desk", "lamp")),
    ]
    assert leaks_of(samples[:1], {"dev": asked}) == []
    (fault,) = leaks_of(samples, {"dev": asked})
    assert fault.where == "dev"
    assert "2 of its texts" in fault.what
    assert "q0 in copy" in str(fault.value)
    (held,) = leaks_of(samples, {}, [TextSample("h", "a table did not"), samples[1]])
    assert held.where == "held-out text"
