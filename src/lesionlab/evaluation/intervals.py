"""Intervals of measured numbers that still cover when the data are clustered and groups are few.

A number, its interval and the n behind it; proportions of cases in groups, and the fewest groups
from which on there is an interval. `limits` has the formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.array_types import Bools, Floats, Ints
from lesionlab.evaluation.limits import LEVEL, logit_limits, lower_bound, spread_of_sums, wilson

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
    if not enough(share.effective_groups, MINIMUM_GROUPS["proportion"]):
        return too_few(share.value, share.n, share.effective_groups, MINIMUM_GROUPS["proportion"])
    low, high = wilson(share.value, share.effective_n, df=share.df)
    method = f"Wilson, effective n {share.effective_n:.1f}, {share.groups} groups"
    return measure(share.value, low, high, share.n, method)


def enough(groups: float, needed: float) -> bool:
    """Whether there are the groups that an interval needs; a hair below counts as reached."""
    return groups >= needed - 1e-9


def too_few(value: float, n: float, groups: float, needed: int) -> Measure:
    """A value whose interval would not be honest: too few groups."""
    method = f"too few to say: {_whole(groups)} groups, {needed} needed"
    return measure(value, float("nan"), float("nan"), n, method)


def _whole(groups: float) -> str:
    """Rounded down: 19.6 of 20 groups are not enough, and must not read as 20."""
    return f"{math.floor(groups + 1e-9)}"


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
    not count. Fewer than `needed` effective groups give the value alone.

    >>> m = weighted_mean_measure(np.array([1.0, 0.5] * 20), np.ones(40), np.arange(40), needed=10)
    >>> m.value, round(m.low, 3), round(m.high, 3)
    (0.75, 0.661, 0.822)
    """
    a, d = np.bincount(codes, values * weight), np.bincount(codes, weight)
    groups, total, n = int((d > 0).sum()), float(d.sum()), int((weight > 0).sum())
    if not groups:
        return Measure(None, None, None, 0, "undefined: no case")
    value, worth = float(a.sum()) / total, effective_groups(d.astype(np.float64))
    if not enough(worth, max(needed, 2)):
        return too_few(value, n, worth, max(needed, 2))
    spread = spread_of_sums((a - value * d)[d > 0] / total)
    limits = logit_limits(value, spread, worth, bounds)
    return measure(value, limits.low, limits.high, n, f"{limits.method}, {groups} groups")
