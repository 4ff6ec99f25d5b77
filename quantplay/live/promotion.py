"""May the quantized model get more traffic, and is traffic split as the policy says? E-processes of one stage and of one revision.

Promotion asks for evidence against "some signal's rate is at least `margin` times that of full precision and above what is
negligible". Per signal that is the mean of two e-values, one against each half of the sentence; every signal needs its own, so nothing
is divided (R. Berger's intersection-union test, 1982).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from quantplay.live.counts import BASELINE, CANDIDATE, Looks
from quantplay.live.rules import LiveRules
from quantplay.records.rollback_rules import SIGNALS
from quantplay.stats.eprocess import follow, log_mean
from quantplay.stats.rate_ratios import limit_steps, odds_of, ratio_steps, share_steps

Array = NDArray[np.float64]
BETTER = np.array([0.6, 0.8, 0.92])  # alternatives, as multiples of the margin
RARER = np.array([0.02, 0.2, 0.6])  # alternatives, as multiples of the odds of what is negligible
ODDS_OFF = np.array([0.5, 0.8, 0.92, 0.98, 1.02, 1.09, 1.25, 2.0])  # of being assigned to the quantized model


def no_promotion_yet() -> Array:
    """Logarithms (S, 2, J): against the margin, against what is negligible."""
    return np.zeros((len(SIGNALS), 2, len(BETTER)))


def promotion_logs(rules: LiveRules, logs: Array, raw: Looks, compared: Looks) -> Array:
    """`logs` after T looks; `raw` and `compared` hold events (S, 2, T) and exposure (2, T) of the six signals."""
    margin = np.full(len(SIGNALS), rules.limits.promotion_margin)
    rare = np.full(len(SIGNALS), rules.limits.negligible)
    steps = np.stack(
        [
            ratio_steps(
                compared.events[:, CANDIDATE], compared.events[:, BASELINE],
                compared.exposure[None, CANDIDATE], compared.exposure[None, BASELINE],
                tolerated=margin, alternatives=margin[:, None] * BETTER,
            ),
            limit_steps(
                raw.events[:, CANDIDATE], raw.exposure[None, CANDIDATE], limit=rare, alternatives=odds_of(rare, RARER)
            ),
        ],
        axis=1,
    )  # fmt: skip
    return follow(logs, steps)[..., -1]


def promotion_levels(logs: Array) -> Array:
    """Logarithm of every signal's e-value (S,)."""
    return np.logaddexp(*np.moveaxis(log_mean(logs, axis=-1), -1, 0)) - math.log(2)


def mismatch_path(logs: Array, exposure: Array, weights: Array) -> Array:
    """Logarithm of the e-value after each of T looks, and of its parts: shape (1 + J, T).

    `exposure` (2, T); `weights` (T,): the share the policy assigned to the quantized model, nan where it changed within a look.
    """
    share = np.nan_to_num(weights, nan=0.0)
    path = follow(logs, share_steps(exposure[CANDIDATE], exposure.sum(axis=0), share=share, odds=ODDS_OFF))
    return np.concatenate([log_mean(path, axis=0)[None], path])
