"""Limits of an estimate from its spread: t on the logit or log scale, Wilson, MOVER.

A percentile interval of few groups is too narrow and does not know the borders of the scale. So
an interval is made on a scale without borders, with the t quantile of the groups there are
(docs/coverage.md), and of means and differences from the intervals of their parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special
from scipy.special import expit, logit, stdtrit

from lesionlab.array_types import Floats

Scale = Literal["logit", "log", "share"]  # on which an interval is made
LEVEL = 0.95
LEAST_DF = 4.0  # fewer widen the interval much and cover hardly more (docs/decisions/0331)
TINY = 1e-30  # a variance below is rounding


def wilson(
    p: float, n: float, level: float = LEVEL, df: float | None = None
) -> tuple[float, float]:
    """Wilson's score interval of a proportion `p` of an (effective) `n`; t quantile with `df`.

    >>> tuple(round(v, 3) for v in wilson(0.9, 100))
    (0.826, 0.945)
    """
    if not n > 0 or not math.isfinite(p):
        return float("nan"), float("nan")
    tail = 0.5 + level / 2
    z = float(special.ndtri(tail) if df is None else stdtrit(max(df, 1), tail))
    low, high = wilson_limits(np.asarray(p, np.float64), np.asarray(n, np.float64), z)
    return float(low), float(high)


def wilson_limits(p: Floats, n: Floats, quantile: float) -> tuple[Floats, Floats]:
    """Wilson's limits of proportions `p` of effective numbers `n`, of any one shape."""
    z = quantile
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(np.maximum(p * (1 - p), 0) / n + z * z / (4 * n * n))
    low = np.where(p <= 0, 0.0, np.maximum(centre - half, 0.0))
    return low, np.where(p >= 1, 1.0, np.minimum(centre + half, 1.0))


def lower_bound(hits: float, n: float, confidence: float = 0.95) -> float:
    """The exact one-sided lower bound of a proportion (59 of 59 gives 0.9505)."""
    return float(special.betaincinv(hits, n - hits + 1, 1 - confidence)) if hits > 0 else 0.0


@dataclass(frozen=True)
class Limits:
    """An interval and the name of its method."""

    low: float
    high: float
    method: str


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t; at least one degree of freedom."""
    return float(stdtrit(max(df, 1), 0.5 + level / 2))


@dataclass(frozen=True)
class Spread:
    """The variance of an estimate, and the degrees of freedom with which it is known."""

    variance: float
    df: float


def spread_of_sums(off: Floats) -> Spread:
    """Of an estimate whose error is the sum of `off (M,)`, one number for each group.

    A variance that hangs on few groups far out is itself uncertain: its relative variance is
    (kurtosis - 1) / M, so it is worth 2 M / (kurtosis - 1) degrees of freedom (Satterthwaite,
    Biometrics Bulletin 1946, with the kurtosis that is seen). M - 1 at most.

    >>> round(spread_of_sums(np.array([1.0, -1.0] * 20)).df), round(
    ...     spread_of_sums(np.array([0.0] * 39 + [1.0])).df, 1)
    (39, 4.0)
    """
    m = len(off)
    centred = off - off.mean() if m else off
    second = float((centred**2).mean()) if m else 0.0
    if m < 2 or second <= 0:
        return Spread(0.0, max(m - 1, 1))
    kurtosis = float((centred**4).mean()) / second**2
    df = min(2 * m / max(kurtosis - 1, 1e-9), m - 1)
    return Spread(m / (m - 1) * float((off**2).sum()), max(df, LEAST_DF))


def spread_of_replicates(drawn: Floats) -> Spread:
    """The same from bootstrap replicates `(B,)`; those that are NaN do not count.

    Their excess kurtosis is that of the groups over their number, so the variance is worth
    2 / excess degrees of freedom; the caller knows the groups, which set an upper limit. Only
    what exceeds its own standard error counts, or chance would widen every other interval.
    """
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < 2:
        return Spread(0.0, 1.0)
    variance = float(defined.var(ddof=1))
    second = float(defined.var())
    if second <= TINY:
        return Spread(variance, math.inf)
    excess = float(((defined - defined.mean()) ** 4).mean()) / second**2 - 3
    excess -= math.sqrt(24 / len(defined))
    return Spread(variance, max(2 / excess, LEAST_DF) if excess > 0 else math.inf)


def logit_limits(
    value: float,
    spread: Spread,
    fewest: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
) -> Limits:
    """Limits of a bounded metric: a t interval on the logit scale.

    `fewest` is the number of groups on the scarcer side (df = fewest - 1 at most). At a border,
    or without any variation, each of those groups counts as one case of Wilson's interval.
    """
    low, high = bounds
    x, v = (value - low) / (high - low), spread.variance / (high - low) ** 2
    if not (0 < x < 1 and v > 0):
        a, b = wilson(min(max(x, 0.0), 1.0), fewest, level)
        return Limits(low + a * (high - low), low + b * (high - low), "Wilson on groups")
    half = t_quantile(min(spread.df, fewest - 1), level) * math.sqrt(v) / (x * (1 - x))
    a, b = (float(expit(logit(x) + sign * half)) for sign in (-1, 1))
    return Limits(low + a * (high - low), low + b * (high - low), "logit t")


def share_limits(value: float, spread: Spread, fewest: float, level: float = LEVEL) -> Limits:
    """Limits of a share whose spread came from resamples: Wilson's, on its effective n.

    As of a sensitivity at a threshold that was itself estimated. Its skewness near 0 and 1 is
    that of a binomial, which Wilson's interval knows; heavy tails do not come on top.
    """
    if not (0 < value < 1 and spread.variance > 0):
        low, high = wilson(min(max(value, 0.0), 1.0), fewest, level)
        return Limits(low, high, "Wilson on groups")
    effective = value * (1 - value) / spread.variance
    low, high = wilson(value, effective, level, df=fewest - 1)
    return Limits(low, high, "Wilson on the effective n")


def log_limits(value: float, spread: Spread, fewest: float, level: float = LEVEL) -> Limits:
    """Limits of a loss (from 0 up): a t interval on the log scale."""
    if not (value > 0 and spread.variance > 0):
        return Limits(float("nan"), float("nan"), "no variation")
    half = t_quantile(min(spread.df, fewest - 1), level) * math.sqrt(spread.variance) / value
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


def difference_limits(
    values: tuple[float, float], first: Limits, second: Limits, correlation: float
) -> Limits:
    """Limits of `values[0] - values[1]` from the limits of each and their correlation.

    MOVER again (Newcombe, Statistics in Medicine 1998; Zou and Donner 2008): where two strong
    models seldom differ, their difference has next to no variance, but each model's own interval
    still says how little is known of it.
    """
    (a, b), r = values, min(max(correlation, -1.0), 1.0)

    def distance(x: float, y: float) -> float:
        return math.sqrt(max(x * x + y * y - 2 * r * x * y, 0.0))

    low = (a - b) - distance(a - first.low, second.high - b)
    high = (a - b) + distance(first.high - a, b - second.low)
    return Limits(low, high, f"MOVER, {first.method}")


def not_narrower(
    found: Limits, value: float, spread: Spread, fewest: float, level: float = LEVEL
) -> Limits:
    """MOVER's limits of a difference `value`, or the t limits of its own spread where wider.

    MOVER is short where strongly correlated estimates have limits of unequal length, the t
    interval where the estimates seldom differ (docs/decisions/0330).
    """
    half = t_quantile(min(spread.df, fewest - 1), level) * math.sqrt(spread.variance)
    return Limits(min(found.low, value - half), max(found.high, value + half), found.method)


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
