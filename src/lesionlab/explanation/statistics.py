"""Means over images that come in groups, and how alike two maps are."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.intervals import (
    FEWEST,
    LEVEL,
    Measure,
    clustered_proportion,
    measure,
    too_few,
    wilson,
)

FEWEST_MEAN = 10  # groups below which a t interval is not given; tests/explanation holds it
Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


def mean_measure(values: npt.NDArray[np.floating], groups: npt.NDArray[np.object_]) -> Measure:
    """The mean of `values (N,)` with a t interval whose unit is the group; NaN is left out.

    The variance is that of a ratio of group sums, with one degree of freedom less than there
    are groups. Below `FEWEST_MEAN` groups there is too little to say.

    >>> m = mean_measure(np.arange(20.0), np.arange(20).astype(object))
    >>> round(m.value, 2), round(m.low, 2), round(m.high, 2)
    (9.5, 6.73, 12.27)
    """
    kept = np.isfinite(values)
    found = np.asarray(values, np.float64)[kept]
    codes, m = group_codes(groups[kept])
    if not len(found):
        return Measure(None, None, None, 0, "undefined: no case")
    mean = float(found.mean())
    if m < FEWEST_MEAN:
        return too_few(mean, len(found), m, FEWEST_MEAN)
    off = np.bincount(codes, found - mean, m)
    half = math.sqrt(m / (m - 1) * float((off**2).sum())) / len(found)
    half *= float(stats.t.ppf(0.5 + LEVEL / 2, m - 1))
    return measure(mean, mean - half, mean + half, len(found), f"clustered t, {m} groups")


def hit_measure(hits: Floats, groups: npt.NDArray[np.object_]) -> Measure:
    """The share of hits (each 0 to 1), with Wilson's interval on the effective n; no NaN counts.

    Unlike a t interval it stays honest where all images hit, or none.

    >>> hit_measure(np.ones(40), np.arange(40).astype(object)).low < 0.95
    True
    """
    kept = np.isfinite(hits)
    codes, m = group_codes(groups[kept])
    if not m:
        return Measure(None, None, None, 0, "undefined: no case")
    found = clustered_proportion(hits[kept], np.ones(int(kept.sum())), codes)
    if m < FEWEST["share"]:
        return too_few(found.value, found.n, m, FEWEST["share"])
    low, high = wilson(found.value, found.effective_n, df=found.df)
    method = f"Wilson, effective n {found.effective_n:.1f}, {m} groups"
    return measure(found.value, low, high, found.n, method)


def rank_correlation(a: Float32, b: Float32) -> Floats:
    """(N, H, W) maps twice -> (N,) Spearman correlation; NaN where a map is constant.

    >>> a = np.arange(4.0, dtype=np.float32).reshape(1, 2, 2)
    >>> rank_correlation(a, a**3).tolist(), rank_correlation(a, -a).tolist()
    ([1.0], [-1.0])
    """
    return np.array([_spearman(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True)])


def _spearman(x: Float32, y: Float32) -> float:
    if not np.ptp(x) > 0 or not np.ptp(y) > 0:
        return float("nan")
    ranks = [stats.rankdata(v) for v in (x, y)]
    return float(np.clip(np.corrcoef(ranks[0], ranks[1])[0, 1], -1, 1))
