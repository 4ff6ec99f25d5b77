"""What changed in a stack is named: every field of a fingerprint shows, and only where it differs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import made_fingerprint

from quantplay.digest import digest_of
from quantplay.envelope.changes import changes_sentence, stack_changes
from quantplay.records import Fingerprint

BEFORE = made_fingerprint()


def after(part: str, **fields: Any) -> Fingerprint:
    if part == "":
        return BEFORE.model_copy(update=fields)
    return BEFORE.model_copy(update={part: getattr(BEFORE, part).model_copy(update=fields)})


def test_equal_fingerprints_have_no_changes() -> None:
    assert stack_changes(BEFORE, after("")) == ()


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (after("software", packages={"torch": "2.13.1", "transformers": "5.17.0"}), "torch"),
        (after("software", packages={"transformers": "5.17.0"}), "torch"),
        (after("software", runtime="llama.cpp b6001, AVX2, FMA"), "llama.cpp"),
        (after("software", system="Linux 6.2, glibc 2.36"), "kernel and C library"),
        (after("software", python="3.11.3"), "Python"),
        (after("hardware", cpu="another"), "processor"),
        (after("hardware", cpu_features=digest_of("other")), "instruction sets of the processor"),
        (after("hardware", cores=4), "processor cores"),
        (after("hardware", memory_bytes=16 << 30), "memory"),
        (after("hardware", accelerators=("NVIDIA H200, 143771 MiB, 570.86",)), "accelerators and their driver"),
        (after("", threads=3), "threads"),
    ],
)
def test_each_difference_is_named_alone(now: Fingerprint, what: str) -> None:
    found = stack_changes(BEFORE, now)
    assert [one.what for one in found] == [what]
    assert what in changes_sentence(found)


def test_a_build_that_was_not_recorded_then_is_a_difference_without_a_name_of_its_own() -> None:
    now = after("software", build=digest_of("a build"))
    assert [one.what for one in stack_changes(BEFORE, now)] == ["what is recorded of the stack"]
    later = after("software", build=digest_of("another build"))
    assert [one.what for one in stack_changes(now, later)] == ["build of llama.cpp's libraries"]
