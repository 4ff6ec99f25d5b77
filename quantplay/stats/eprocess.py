"""E-processes that may be looked at whenever one likes: a mixture since the start, and a sum over restarts for what changes later.

A product of steps whose expectations are at most 1 stays below 1/alpha for ever with probability 1 - alpha (J. Ville 1939); so does the
mean of several such products over alternatives. What went well for ten days, however, weighs on that product when something
changes. The Shiryaev-Roberts sum starts a fresh product every hour and adds them all up (J. Shin, A. Ramdas, A. Rinaldo,
E-detectors, 2022): its expectation is at most the number of starts, so it passes starts/alpha with probability at most alpha.

All in logarithms: counts of any size neither overflow nor vanish. The last axis of steps and paths is time, the one before it the alternatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def follow(start: Array, steps: Array) -> Array:
    """The path from `start` (..., J) over `steps` (..., J, T): the logarithm of every product after every look.

    Added one look after the other, so that a path does not depend on how many looks come at once.
    """
    path = steps.copy()
    if path.shape[-1]:
        path[..., 0] += start
        np.cumsum(path, axis=-1, out=path)
    return path


def follow_restarting(start: Array, steps: Array, started: Array) -> Array:
    """The path of sums that start anew after every look: products worth `started` (T,) in all join them after each of T looks."""
    path, here = np.empty_like(steps), start
    for t, worth in enumerate(np.log(started)):
        here = np.logaddexp(here + steps[..., t], worth)
        path[..., t] = here
    return path


def restart(logs: Array, times: int = 1) -> Array:
    """Sums over restarts (..., J) after `times` more products of value 1 joined them."""
    return logs if times == 0 else np.logaddexp(logs, np.log(times))


def log_mean(logs: Array, axis: int) -> Array:
    """Logarithm of the mean of exp(logs) along `axis`: the mixture with equal weights. Never above the largest of them."""
    top = logs.max(axis=axis, keepdims=True)
    return np.log(np.mean(np.exp(logs - top), axis=axis)) + np.squeeze(top, axis=axis)
