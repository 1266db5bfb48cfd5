"""Pointwise 95 % bands of ROC and precision-recall curves.

Each point of a curve is a share, so it gets a share's interval: Wilson's, on the effective n that
the variance of the replicates stands for, with a t quantile. None below the fewest groups, nor at
the beginning of a precision-recall curve, where the precision hangs on a few groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtrit

from lesionlab.evaluation.intervals import FEWEST, LEVEL
from lesionlab.evaluation.measured import MOST_UNDEFINED, Measured
from lesionlab.evaluation.predictions import Floats
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
        low, high = wilson_band(m.point[f"{key}:{name}"], _variance(drawn), fewest)
        if kind == "roc":  # everyone is called positive: nothing is left to chance
            low[-1] = high[-1] = 1.0
        else:
            few = grid * fewest < FEWEST["share"] - 1e-9
            low[few] = high[few] = np.nan
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


def wilson_band(value: Floats, variance: Floats, fewest: float) -> tuple[Floats, Floats]:
    """Limits (M,) around shares (M,) with these variances; NaN where either is.

    Without any variation, as at 0 and 1, each of the scarcer side's `fewest` groups counts as one
    case. `intervals.wilson` for a whole curve.
    """
    spread = value * (1 - value)
    varies = (spread > 0) & (variance > 0)
    n = np.where(varies, spread / np.where(varies, variance, 1.0), float(fewest))
    t = float(stdtrit(max(fewest - 1, 1), 0.5 + LEVEL / 2))
    centre = (value + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * np.sqrt(spread / n + t * t / (4 * n * n))
    low = np.where(value <= 0, 0.0, np.maximum(centre - half, 0.0))
    high = np.where(value >= 1, 1.0, np.minimum(centre + half, 1.0))
    unknown = np.isnan(value) | np.isnan(variance)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
