"""Counters of Envoy as Prometheus has them: restarts, late looks and looks that overlap lose nothing and count nothing twice."""

from __future__ import annotations

import random

import pytest

from quantplay.live.platform.rises import Rises, Series

LABELS = (("instance", "envoy-1"), ("job", "envoy"))


def series(samples: list[tuple[float, float]], name: str = "completed", instance: str = "envoy-1") -> Series:
    labels = (("__name__", name), ("instance", instance), ("job", "envoy"))
    return Series(labels=labels, samples=tuple(samples))


def look(rises: Rises, *found: Series) -> list[float]:
    rises.meet(found)
    return [rises.take(one) for one in found]


@pytest.mark.parametrize("seed", range(20))
def test_however_looks_are_cut_and_envoys_restart_all_of_it_counts_once(seed: int) -> None:
    draw = random.Random(seed)
    samples, true, value = [(0.0, 1000.0)], 0, 1000.0
    for at in range(15, 3000, 15):
        if draw.random() < 0.1:  # a new process: what it counted before its first scrape is all that can be known
            value = 0.0
        step = draw.randint(0, 5)
        if value == 0 and samples[-1][1] <= step:  # a fall has to be seen as one: no counter can tell otherwise
            step = 0
        value, true = value + step, true + step
        samples.append((float(at), value))
    rises, end, total = Rises(), -1.0, 0.0
    while end < 3000:
        start, end = end, end + draw.choice((1, 15, 40, 200))
        seen = [one for one in samples if start - draw.choice((0, 60)) < one[0] <= end]
        total += look(rises, series(seen))[0]
    look(rises, series(samples))
    assert total == true


def test_a_class_of_answers_that_begins_at_a_known_place_counts_in_full_and_an_old_one_does_not() -> None:
    rises = Rises()
    assert look(rises, series([(0, 500)]), series([(0, 9)], "5xx")) == [0, 0]
    # The first 5xx of another counter at the same Envoy: it was 0 before.
    assert look(rises, series([(15, 510)]), series([(15, 2)], "retries")) == [10, 2]
    # Another Envoy, running for long before it was scraped: nobody knows since when it counts.
    assert look(rises, series([(30, 70_000), (45, 70_003)], instance="envoy-2")) == [3]
    assert look(rises, series([(60, 4)], "5xx", instance="envoy-2")) == [4]


def test_what_was_looked_at_is_not_looked_at_again() -> None:
    rises = Rises()
    look(rises, series([(0, 5)]))
    assert look(rises, series([(0, 5), (15, 8)])) == [3]
    assert look(rises, series([(0, 5), (15, 8)])) == [0]
    assert look(rises, series([])) == [0]
    assert look(rises, series([(15, 8), (30, 1), (45, 2)])) == [2]  # restarted between
