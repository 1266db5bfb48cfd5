"""A measured number with its interval, and the interval methods that fit clustered data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from lesionlab.evaluation.predictions import Floats, Ints

LEVEL = 0.95
# The fewest effective groups (`effective_groups`, of the scarcer class) from which on an interval
# covers in at least 93 % of simulated studies: docs/coverage.md. Below: "too few to say".
FEWEST = {
    "share": 25,
    "roc_auc": 15,
    "average_precision": 40,
    "interpolated_pr_area": 40,
    "precision_of_mixed": 80,  # both of them, where groups hold several classes
    "partial_auc": 80,
    "sensitivity_at_specificity": 20,
    "specificity_at_sensitivity_80": 20,
    "specificity_at_sensitivity_90": 40,
    "specificity_at_sensitivity_95": 80,
    "f1": 10,
    "mean_over_classes": 5,
    "mean_over_two_or_mixed": 20,  # two classes, or groups that hold several
    "agreement": 20,
    "loss": 30,
    "calibration": 30,
}
Cases = npt.NDArray[np.bool_]


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
    z = float(special.ndtri(tail) if df is None else special.stdtrit(max(df, 1), tail))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(p * (1 - p), 0) / n + z * z / (4 * n * n))
    low = 0.0 if p <= 0 else max(0.0, centre - half)
    return low, 1.0 if p >= 1 else min(1.0, centre + half)


def clopper_pearson(hits: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval; `hits` and `n` may be effective, thus fractional."""
    tail = (1 - level) / 2
    low = float(special.betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


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


def proportion_measure(part: Cases, whole: Cases, codes: Ints) -> Measure:
    """The share of the cases `whole (N,) bool` that are also in `part`, with its interval.

    Wilson's interval on the effective n; groups are `codes (N,)`. Below `FEWEST["share"]`
    effective groups there is too little to say.
    """
    inside = whole.astype(np.float64)
    return share_measure(clustered_proportion((part & whole).astype(np.float64), inside, codes))


def share_measure(share: ClusteredProportion) -> Measure:
    """A clustered share with Wilson's interval on its effective n, as `proportion_measure`."""
    if not share.groups:
        return Measure(None, None, None, 0, "undefined: no case")
    if share.effective_groups < FEWEST["share"] - 1e-9:
        return too_few(share.value, share.n, share.effective_groups, FEWEST["share"])
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
