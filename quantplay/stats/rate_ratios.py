"""Log-likelihood ratios of event counts, the steps of e-processes: two arms against each other, or one against a limit.

Two arms. K events in all, of which x fell to the candidate; with n_c and n_b conversations, and rates that stand as R : 1, the
candidate's share of K is Binomial(K, n_c R / (n_c R + n_b)). The ratio of the likelihoods under R and under the tolerated
r is exp(x log(R/r) - K log((n_c R + n_b) / (n_c r + n_b))).

Its expectation is at most 1 whenever every conversation has at most one event, independently given the past, and the candidate's rate
q_c is on the tolerated side of r q_b: with a the factor of a candidate's event and b that of a baseline's,
    E = (1 + q_c (a - 1))^n_c (1 + q_b (b - 1))^n_b <= exp(n_c q_c (a - 1) + n_b q_b (b - 1)) = exp(n_c (a - 1) (q_c - r q_b)),
because n_c r (a - 1) + n_b (b - 1) = 0. Rates may differ from look to look (day and night, shared shocks), and so may n_c and n_b (ramps).
Against a tolerated ratio the alternatives lie above it; against a margin of non-inferiority they lie below: the sign of a - 1 turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]


def ratio_steps(
    candidate_events: Array, baseline_events: Array, candidate_exposure: Array, baseline_exposure: Array, *,
    tolerated: Array, alternatives: Array,
) -> Array:  # fmt: skip
    """Log-likelihood ratios of looks, shape (..., J, T).

    Events (..., T); exposures broadcast against them; `tolerated` (...,) and `alternatives` (..., J) broadcast against the leading
    axes. A look in which an arm had no conversation tells nothing: 0.
    """
    n_c, n_b = candidate_exposure[..., None, :], baseline_exposure[..., None, :]
    ratio, null = alternatives[..., :, None], tolerated[..., None, None]
    both = (n_c > 0) & (n_b > 0)
    penalty = np.log(np.divide(n_c * ratio + n_b, n_c * null + n_b, out=np.ones(_shape(n_c, ratio)), where=both))
    reward = np.where(both, np.log(ratio / null), 0.0)
    steps = candidate_events[..., None, :] * reward
    steps -= (candidate_events + baseline_events)[..., None, :] * penalty
    return steps


def limit_steps(events: Array, exposure: Array, *, limit: Array, alternatives: Array) -> Array:
    """Log-likelihood ratios of looks at one arm, shape (..., J, T): rates `alternatives` against the rate `limit`.

    Events and exposure (..., T); `limit` (...,) and `alternatives` (..., J), both within (0, 1). An event that comes later than its
    conversation turns a conversation without one into one with.
    """
    rate, null = alternatives[..., :, None], limit[..., None, None]
    without = np.log1p(-rate) - np.log1p(-null)
    steps = events[..., None, :] * (np.log(rate / null) - without)
    steps += exposure[..., None, :] * without
    return steps


def share_steps(chosen: Array, total: Array, *, share: ArrayLike, odds: Array) -> Array:
    """Log-likelihood ratios of `chosen` out of `total` (..., T), shape (..., J, T): odds that are off by a factor, against `share`.

    `share` broadcasts against (..., T); where it is not within (0, 1) the look tells nothing: 0.
    """
    assumed = np.asarray(share, dtype=np.float64)[..., None, :]
    inside = (assumed > 0) & (assumed < 1)
    scale = np.log1p(np.where(inside, assumed, 0.0) * (odds[:, None] - 1))
    steps = chosen[..., None, :] * np.where(inside, np.log(odds)[:, None], 0.0) - total[..., None, :] * scale
    return np.where(inside, steps, 0.0)


def odds_of(limit: Array, factors: Array) -> Array:
    """Rates whose odds are `factors` (J) times those of `limit` (F): shape (F, J), always within (0, 1)."""
    start = limit[..., None]
    return start * factors / (1 - start + start * factors)


def highest_rate(events: int, trials: int, alpha: float) -> float:
    """Upper confidence bound of a rate, one-sided, of level 1 - `alpha` (C. Clopper, E. Pearson, Biometrika 26 (1934) 404-413)."""
    if events >= trials:
        return 1.0
    return float(betaincinv(events + 1, trials - events, 1 - alpha))


def _shape(*arrays: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(*(array.shape for array in arrays))
