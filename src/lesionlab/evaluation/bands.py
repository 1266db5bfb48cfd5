"""Pointwise 95 % bands of ROC and precision-recall curves, by the same rule as single points.

A point of a ROC curve is a sensitivity at a specificity, so it gets that metric's interval: t on
the logit scale with the variance of the replicates, and none below the fewest groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from lesionlab.evaluation.intervals import FEWEST, wilson
from lesionlab.evaluation.measured import MOST_UNDEFINED, Measured
from lesionlab.evaluation.predictions import Floats
from lesionlab.evaluation.resampled import t_quantile
from lesionlab.evaluation.statistics import FPR_GRID, RECALL_GRID

# kind -> (axis, its grid, the statistic, whose fewest groups rule it)
KINDS = {
    "roc": ("fpr", FPR_GRID, "roc_band", "sensitivity_at_specificity"),
    "pr": ("recall", RECALL_GRID, "pr_band", "average_precision"),
}


def bands(m: Measured, name: str) -> dict[str, Any]:
    """`{roc: {fpr, low, high}, pr: {recall, low, high}}` of one score; None with too few groups."""
    fewest = m.cases.scarcer_groups(name)
    found: dict[str, Any] = {}
    for kind, (axis, grid, key, family) in KINDS.items():
        drawn = m.replicates[f"{key}:{name}"]
        if fewest < FEWEST[family]:
            found[kind] = None
            continue
        low, high = logit_band(m.point[f"{key}:{name}"], _variance(drawn), fewest)
        if kind == "roc":  # everyone is called positive: nothing is left to chance
            low[-1] = high[-1] = 1.0
        found[kind] = {axis: grid.tolist(), "low": low, "high": high}
    return found


def _variance(drawn: Floats) -> Floats:
    """(M,) variance of replicates (B, M); NaN where too many of them are undefined."""
    defined = ~np.isnan(drawn)
    n = defined.sum(axis=0)
    centred = np.where(defined, drawn, 0.0)
    mean = centred.sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(defined, drawn - mean, 0.0) ** 2).sum(axis=0)
    enough = n >= max(2, (1 - MOST_UNDEFINED) * len(drawn))
    return np.where(enough, squares / np.maximum(n - 1, 1), np.nan)


def logit_band(value: Floats, variance: Floats, fewest: float) -> tuple[Floats, Floats]:
    """Limits (M,) around values (M,) in [0, 1]; as `resampled.logit_limits`, for a whole curve.

    NaN where the value or its variance is.
    """
    known = ~np.isnan(value) & ~np.isnan(variance)
    inner = known & (value > 0) & (value < 1) & (variance > 0)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for at in np.unique(value[known & ~inner]):  # at a border each group counts as one case
        rows = known & ~inner & (value == at)
        low[rows], high[rows] = wilson(float(at), fewest)
    x = value[inner]
    half = t_quantile(fewest - 1) * np.sqrt(variance[inner]) / (x * (1 - x))
    low[inner], high[inner] = expit(logit(x) - half), expit(logit(x) + half)
    return low, high
