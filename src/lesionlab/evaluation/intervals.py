"""Intervals of measured numbers that still cover when the data are clustered and groups are few.

Proportions get Wilson's interval on their effective n. For everything else the replicates of a
bootstrap give only the variance: a percentile interval of few groups is too narrow and does not
know the borders of the scale. The interval is made on a scale without borders, with the t
quantile of the groups there are. docs/coverage.md has the simulation that chose this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from scipy.special import expit, logit, stdtrit

from lesionlab.array_types import Bools, Floats, Ints

LEVEL = 0.95
# The smallest number of effective groups (`effective_groups`, of the scarcer class) from which on
# an interval covers in at least 93 % of simulated studies: docs/coverage.md. Below: "too few to
# say". Headline and ranking metrics have theirs in `metric_table`.
MINIMUM_GROUPS = {
    "proportion": 25,
    "f1": 10,
    "mean_over_classes": 5,
    "mean_over_two_or_mixed": 20,  # two classes, or groups that hold several
    "calibration": 30,
    "subgroup": 20,  # of either kind, malignant and benign
    "mean_of_maps": 10,  # means over explained images; tests/explanation holds it
}
LEAST_DF = 2.0  # a variance seen in a single group is worth no less
TINY = 1e-30  # a variance below is rounding
MOST_UNDEFINED = 0.05  # of the replicates; with more, the others no longer stand for all


@dataclass(frozen=True)
class Measure:
    """A number, its 95 % interval, the n behind it, and how the interval was made.

    `value` is None where the number is undefined; `low` and `high` are None where there is too
    little to say, and `method` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object; NaN is not in it."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "method": self.method,
        }


def measure(value: float, low: float, high: float, n: float, method: str) -> Measure:
    """A `Measure` in which NaN has become None."""
    numbers = [float(v) if np.isfinite(v) else None for v in (value, low, high)]
    if numbers[0] is None:
        return Measure(None, None, None, int(n), method)
    return Measure(numbers[0], numbers[1], numbers[2], int(n), method)


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
class ClusteredProportion:
    """A share over `n` cases in `groups` groups, worth `effective_n` independent cases.

    `effective_groups` are fewer where groups are of unequal size. `df` are the degrees of freedom
    with which the correlation was estimated; None where nothing had to be estimated.
    """

    value: float
    n: float
    groups: int
    effective_n: float
    df: float | None
    effective_groups: float


def effective_groups(size: Floats) -> float:
    """How many groups of equal size are worth groups of these sizes: (sum)^2 / sum of squares.

    Kish 1965; Carter, Schnepel and Steigerwald, Rev Econ Stat 2017.

    >>> effective_groups(np.array([3.0, 3.0, 3.0])), effective_groups(np.array([3.0, 1.0]))
    (3.0, 1.6)
    """
    squares = float((size**2).sum())
    return float(size.sum()) ** 2 / squares if squares > 0 else 0.0


def clustered_proportion(part: Floats, whole: Floats, codes: Ints) -> ClusteredProportion:
    """The share `part / whole` of cases that come in groups.

    `part` and `whole` are (N,) weights of the cases (part <= whole), `codes` (N,) their group
    numbers. Where no group has two cases, they are independent. Else the variance is that of the
    jackknife over groups; where it is zero (all right, or all wrong) nothing is known of the
    correlation, and each effective group counts as one case.
    """
    size = int(codes.max(initial=-1)) + 1
    a, d = np.bincount(codes, part, size), np.bincount(codes, whole, size)
    m, total = int((d > 0).sum()), float(d.sum())
    if not m:
        return ClusteredProportion(float("nan"), 0.0, 0, 0.0, None, 0.0)
    p, worth = float(a.sum()) / total, effective_groups(d.astype(np.float64))
    if np.isin(d, (0.0, 1.0)).all():
        return ClusteredProportion(p, total, m, total, None, worth)
    if m == 1 or p <= 0 or p >= 1:
        return ClusteredProportion(p, total, m, worth, None, worth)
    a, d = a[d > 0], d[d > 0]
    left_out = (a.sum() - a) / (total - d)
    variance = (m - 1) / m * float(((left_out - p) ** 2).sum())
    effective = min(p * (1 - p) / variance, total) if variance > 0 else worth
    return ClusteredProportion(p, total, m, effective, worth - 1, worth)


def clustered_lower_bound(share: ClusteredProportion, confidence: float = LEVEL) -> float:
    """The one-sided lower bound of a clustered share, exact where each group has one case.

    The bound of Clopper and Pearson on the effective n, as Korn and Graubard (Surv Methodol 1998),
    but an effective group counts as one case at most. With few errors their correlation in
    groups is not known well enough to count siblings as more (docs/decisions/0300;
    bench/coverage_bounds.py).

    >>> share = clustered_proportion(np.ones(177), np.ones(177), np.repeat(np.arange(59), 3))
    >>> round(clustered_lower_bound(share), 4)
    0.9505
    """
    n = min(share.effective_n, share.effective_groups)
    return lower_bound(share.value * n, n, confidence)


def proportion_measure(part: Bools | Floats, whole: Bools, codes: Ints) -> Measure:
    """The share of the cases `whole (N,) bool` that are also in `part`, with its interval.

    A case may be in `part` by a share in [0, 1], as where a tie is split. Wilson's interval on
    the effective n; groups are `codes (N,)`. Below `MINIMUM_GROUPS["proportion"]` effective
    groups there is too little to say.
    """
    inside = whole.astype(np.float64)
    return share_measure(clustered_proportion(part * inside, inside, codes))


def share_measure(share: ClusteredProportion) -> Measure:
    """A clustered share with Wilson's interval on its effective n, as `proportion_measure`."""
    if not share.groups:
        return Measure(None, None, None, 0, "undefined: no case")
    if share.effective_groups < MINIMUM_GROUPS["proportion"] - 1e-9:
        return too_few(share.value, share.n, share.effective_groups, MINIMUM_GROUPS["proportion"])
    low, high = wilson(share.value, share.effective_n, df=share.df)
    method = f"Wilson, effective n {share.effective_n:.1f}, {share.groups} groups"
    return measure(share.value, low, high, share.n, method)


def too_few(value: float, n: float, groups: float, needed: int) -> Measure:
    """A value whose interval would not be honest: too few groups."""
    method = f"too few to say: {_whole(groups)} groups, {needed} needed"
    return measure(value, float("nan"), float("nan"), n, method)


def _whole(groups: float) -> str:
    """Rounded down: 19.6 of 20 groups are not enough, and must not read as 20."""
    return f"{math.floor(groups + 1e-9)}"


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
    (39, 2.2)
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


def weighted_mean_measure(
    values: Floats,
    weight: Floats,
    codes: Ints,
    *,
    needed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Measure:
    """The weighted mean of `values (N,)` within `bounds`, by a t interval on the logit scale.

    The variance is that of a ratio of group sums (`codes (N,)` are the groups), so images of one
    patient stay together. Values may be fractions, such as shares of votes; cases of weight 0 do
    not count. Fewer than `needed` groups give the value alone.

    >>> m = weighted_mean_measure(np.array([1.0, 0.5] * 20), np.ones(40), np.arange(40), needed=10)
    >>> m.value, round(m.low, 3), round(m.high, 3)
    (0.75, 0.661, 0.822)
    """
    a, d = np.bincount(codes, values * weight), np.bincount(codes, weight)
    groups, total, n = int((d > 0).sum()), float(d.sum()), int((weight > 0).sum())
    if not groups:
        return Measure(None, None, None, 0, "undefined: no case")
    value = float(a.sum()) / total
    if groups < max(needed, 2):
        return too_few(value, n, groups, max(needed, 2))
    spread = spread_of_sums((a - value * d)[d > 0] / total)
    limits = logit_limits(value, spread, groups, bounds)
    return measure(value, limits.low, limits.high, n, f"{limits.method}, {groups} groups")
