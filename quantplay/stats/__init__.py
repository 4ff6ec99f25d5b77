"""Paired bounds, intervals and power. Pure; numpy and scipy.special only.

paired.py      Tango's score bounds for paired proportions, McNemar's exact p, minimum detectable drop
flips.py       the same bounds with a guard where almost every flip is a loss
clusters.py    how many independent items the items of shared documents are worth
bootstrap.py   clustered paired bootstrap-t
drops.py       one gated quantity with its bounds: flips, graded scores, loss
holm.py        one lower bound a quantity, adjusted for looking at several
power.py       the chance that a lossless candidate passes, and the items that takes
plan_power.py  the same for a whole plan, before anything runs
"""

from quantplay.stats.clusters import ClusterSums, cluster_sums, design_effect
from quantplay.stats.drops import Drop, FlipDrop, GradedDrop, LossRise, loss_rise, score_drop
from quantplay.stats.flips import flip_lower, flip_statistic, flip_upper
from quantplay.stats.holm import holm_lower_bounds
from quantplay.stats.paired import (
    mcnemar_exact,
    minimum_detectable_drop,
    tango_interval,
    tango_lower,
    tango_statistic,
    tango_upper,
)
from quantplay.stats.plan_power import ALPHA, HARDEST, PowerReport, PowerRow, power_report
from quantplay.stats.power import items_for, items_to_settle, pass_probability

__all__ = [
    "ALPHA",
    "HARDEST",
    "ClusterSums",
    "Drop",
    "FlipDrop",
    "GradedDrop",
    "LossRise",
    "PowerReport",
    "PowerRow",
    "cluster_sums",
    "design_effect",
    "flip_lower",
    "flip_statistic",
    "flip_upper",
    "holm_lower_bounds",
    "items_for",
    "items_to_settle",
    "loss_rise",
    "mcnemar_exact",
    "minimum_detectable_drop",
    "pass_probability",
    "power_report",
    "score_drop",
    "tango_interval",
    "tango_lower",
    "tango_statistic",
    "tango_upper",
]
