"""Means over images that come in groups, and how alike two maps are.

Groups count by their effective number everywhere: one lesion with 40 images among 11 others is
worth fewer than two, and says nothing about other lesions (`evaluation.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.array_types import Bools, Float32, Floats, Ints, Labels
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    Measure,
    clustered_proportion,
    effective_groups,
    enough,
    measure,
    share_measure,
    too_few,
)
from lesionlab.evaluation.limits import (
    Limits,
    Spread,
    correlations,
    logit_limits,
    mean_limits,
    spread_of_sums,
    t_quantile,
)

FLAT = 1e-6  # range of a map, as a share of its largest value, below which it is rounding
SHARE, SIGNED = (0.0, 1.0), (-1.0, 1.0)  # bounds of shares; of correlations and differences
Bounds = tuple[float, float]


def mean_measure(
    values: npt.NDArray[np.floating], groups: Labels, bounds: Bounds | None = None
) -> Measure:
    """The mean of `values (N,)` with a t interval whose unit is the group; NaN is left out.

    With `bounds` the interval is made on the logit scale between them and stays inside. Below
    `MINIMUM_GROUPS["mean_of_maps"]` effective groups there is too little to say.

    >>> m = mean_measure(np.arange(20.0), np.arange(20).astype(object))
    >>> round(m.value, 2), round(m.low, 2), round(m.high, 2)
    (9.5, 6.73, 12.27)
    """
    return ratio_measure(np.asarray(values, np.float64), np.ones(len(values)), groups, bounds)


def ratio_measure(
    part: Floats, whole: Floats, groups: Labels, bounds: Bounds | None = None
) -> Measure:
    """`sum(part) / sum(whole)` of (N,) values, `whole` not negative; else as `mean_measure`.

    The variance is that of a ratio of group sums, with one degree of freedom less than there
    are effective groups.
    """
    kept = np.isfinite(part) & np.isfinite(whole)
    codes, m = group_codes(groups[kept])
    a, d = (np.bincount(codes, v[kept], m).astype(np.float64) for v in (part, whole))
    n, total = int(kept.sum()), float(d.sum())
    if not total > 0:
        return Measure(None, None, None, 0, "undefined: no case")
    value, worth = float(a.sum()) / total, effective_groups(d)
    if not enough(worth, MINIMUM_GROUPS["mean_of_maps"]):
        return too_few(value, n, worth, MINIMUM_GROUPS["mean_of_maps"])
    limits = _limits(value, spread_of_sums((a - value * d) / total), worth, bounds)
    return measure(value, limits.low, limits.high, n, f"{limits.method}, {m} groups")


def _limits(value: float, spread: Spread, worth: float, bounds: Bounds | None) -> Limits:
    if bounds is not None:
        found = logit_limits(value, spread, worth, bounds)
        return Limits(found.low, found.high, f"clustered {found.method}")
    half = t_quantile(min(spread.df, worth - 1)) * math.sqrt(spread.variance)
    return Limits(value - half, value + half, "clustered t")


def hit_measure(hits: Floats, groups: Labels) -> Measure:
    """The share of hits (each 0 to 1), with Wilson's interval on the effective n; no NaN counts.

    Unlike a t interval it stays honest where all images hit, or none. Below
    `MINIMUM_GROUPS["proportion"]` effective groups there is too little to say.

    >>> hit_measure(np.ones(40), np.arange(40).astype(object)).low < 0.95
    True
    """
    kept = np.isfinite(hits)
    codes, _ = group_codes(groups[kept])
    return share_measure(clustered_proportion(hits[kept], np.ones(int(kept.sum())), codes))


def balanced_measure(values: Floats, labels: Ints, groups: Labels) -> Measure:
    """The mean over classes of each class's mean of `values (N,)` in [0, 1]; NaN is left out.

    MOVER over the classes, as for balanced accuracy (docs/decisions/0030), so that a rare class
    neither collapses nor rules the mean. A class without values does not count. Below
    `MINIMUM_GROUPS["mean_over_classes"]` effective groups of a class
    (`"mean_over_two_or_mixed"` for two classes, or groups of several) there is too little to say.
    """
    kept = np.isfinite(values)
    x, y = values[kept], labels[kept]
    codes, m = group_codes(groups[kept])
    present = np.unique(y)
    if not len(present):
        return Measure(None, None, None, 0, "undefined: no case")
    size = np.stack([np.bincount(codes[y == k], minlength=m) for k in present], 1).astype(float)
    sums = np.stack([np.bincount(codes[y == k], x[y == k], m) for k in present], 1)
    mean = sums.sum(0) / size.sum(0)
    worth = np.array([effective_groups(column) for column in size.T])
    hard = len(present) < 3 or bool(((size > 0).sum(1) > 1).any())
    needed = MINIMUM_GROUPS["mean_over_two_or_mixed" if hard else "mean_over_classes"]
    if not enough(float(worth.min()), needed):
        return too_few(float(mean.mean()), len(x), float(worth.min()), needed)
    limits = _over_classes(mean, (sums - mean * size) / size.sum(0), worth, size > 0)
    return measure(
        float(mean.mean()), limits.low, limits.high, len(x), f"{limits.method}, {m} groups"
    )


def _over_classes(mean: Floats, off: Floats, worth: Floats, held: Bools) -> Limits:
    """Of the mean of K class means; `off (G, K)` is what each group adds to their errors.

    `held (G, K)` says which groups hold cases of which class.
    """
    spreads = [spread_of_sums(column[own]) for column, own in zip(off.T, held.T, strict=True)]
    each = [logit_limits(*v) for v in zip(mean, spreads, worth, strict=True)]
    lows, highs = (np.array([getattr(e, side) for e in each]) for side in ("low", "high"))
    found = mean_limits(mean, lows, highs, correlations(off))
    return Limits(max(0.0, found.low), min(1.0, found.high), found.method)


def known_mean(values: Sequence[Floats] | Floats) -> Floats:
    """The mean over the first axis, without NaN; NaN where there is nothing else.

    >>> known_mean([np.array([1.0, np.nan]), np.array([2.0, np.nan])]).tolist()
    [1.5, nan]
    """
    each = np.asarray(values, np.float64)
    known = np.isfinite(each)
    total, count = np.where(known, each, 0).sum(0), known.sum(0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float64)


def constant(maps: Float32) -> Bools:
    """(N, H, W) maps -> (N,) whether each says nothing: no gradient, or rounding only.

    >>> constant(np.stack([np.ones((2, 2)), np.eye(2)]).astype(np.float32)).tolist()
    [True, False]
    """
    flat = maps.reshape(len(maps), -1)
    return np.asarray(~(np.ptp(flat, 1) > FLAT * np.abs(flat).max(1)), bool)


def rank_correlation(a: Float32, b: Float32) -> Floats:
    """(N, H, W) maps twice -> (N,) Spearman correlation; NaN where a map is constant.

    >>> a = np.arange(4.0, dtype=np.float32).reshape(1, 2, 2)
    >>> rank_correlation(a, a**3).tolist(), rank_correlation(a, -a).tolist()
    ([1.0], [-1.0])
    """
    none = constant(a) | constant(b)
    return np.array(
        [
            np.nan if n else _spearman(x.ravel(), y.ravel())
            for x, y, n in zip(a, b, none, strict=True)
        ]
    )


def _spearman(x: Float32, y: Float32) -> float:
    ranks = [stats.rankdata(v) for v in (x, y)]
    return float(np.clip(np.corrcoef(ranks[0], ranks[1])[0, 1], -1, 1))
