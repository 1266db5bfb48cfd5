"""Intervals from bootstrap replicates that still cover when groups are few.

A percentile interval of few groups is too narrow and does not know the borders of the scale. So
the replicates only give the variance; the interval is made on a scale without borders, with the
t quantile of the groups there are. docs/coverage.md has the simulation that chose this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit

from lesionlab.evaluation.intervals import LEVEL, wilson
from lesionlab.evaluation.predictions import Floats


@dataclass(frozen=True)
class Limits:
    """An interval and the name of its method."""

    low: float
    high: float
    method: str


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t; at least one degree of freedom."""
    return float(stdtrit(max(df, 1), 0.5 + level / 2))


def logit_limits(
    value: float,
    variance: float,
    fewest: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Limits:
    """Limits of a bounded metric: a t interval on the logit scale.

    `fewest` is the number of groups on the scarcer side (df = fewest - 1). At a border, or
    without any variation, each of those groups counts as one case of Wilson's interval.
    """
    low, high = bounds
    x, v = (value - low) / (high - low), variance / (high - low) ** 2
    if not (0 < x < 1 and v > 0):
        a, b = wilson(min(max(x, 0.0), 1.0), fewest)
        return Limits(low + a * (high - low), low + b * (high - low), "Wilson on groups")
    half = t_quantile(fewest - 1) * math.sqrt(v) / (x * (1 - x))
    a, b = (float(expit(logit(x) + sign * half)) for sign in (-1, 1))
    return Limits(low + a * (high - low), low + b * (high - low), "logit t")


def log_limits(value: float, variance: float, fewest: float) -> Limits:
    """Limits of a loss (from 0 up): a t interval on the log scale."""
    if not (value > 0 and variance > 0):
        return Limits(float("nan"), float("nan"), "no variation")
    half = t_quantile(fewest - 1) * math.sqrt(variance) / value
    return Limits(value * math.exp(-half), value * math.exp(half), "log t")


def mean_limits(values: Floats, lows: Floats, highs: Floats, correlation: Floats) -> Limits:
    """Limits of the mean of K metrics from the limits of each and their `(K, K)` correlation.

    MOVER, the method of variance estimates recovery (Zou and Donner 2008): each limit's distance
    from its value stands for a multiple of that metric's standard error, so that skewness and
    the small numbers of a rare class stay where they arise.
    """
    centre, k = float(values.mean()), len(values)
    down, up = values - lows, highs - values
    below = math.sqrt(max(float(down @ correlation @ down), 0.0)) / k
    above = math.sqrt(max(float(up @ correlation @ up), 0.0)) / k
    return Limits(centre - below, centre + above, "MOVER over classes")


def correlations(replicates: Floats) -> Floats:
    """`(K, K)` correlation of the columns of `(B, K)` replicates; 0 where one does not vary."""
    defined = replicates[~np.isnan(replicates).any(1)]
    k = replicates.shape[1]
    if len(defined) < 3:
        return np.eye(k)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(np.atleast_2d(np.corrcoef(defined, rowvar=False)))
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def harmonic(groups: Floats) -> float:
    """Harmonic mean of the numbers of groups of the classes: rare classes weigh most."""
    return float(len(groups) / (1 / groups).sum()) if len(groups) else 0.0
