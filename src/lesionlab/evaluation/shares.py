"""The mean of a bounded quantity over cases that come in groups."""

from __future__ import annotations

import numpy as np

from lesionlab.evaluation.intervals import Measure, measure, too_few
from lesionlab.evaluation.predictions import Floats, Ints
from lesionlab.evaluation.resampled import logit_limits


def mean_measure(
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

    >>> m = mean_measure(np.array([1.0, 0.5] * 20), np.ones(40), np.arange(40), needed=10)
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
    variance = groups / (groups - 1) * float(((a - value * d) ** 2).sum()) / total**2
    limits = logit_limits(value, variance, groups, bounds)
    return measure(value, limits.low, limits.high, n, f"{limits.method}, {groups} groups")
