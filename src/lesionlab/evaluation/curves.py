"""ROC and precision-recall curves of one score: thinned for a report, with pointwise 95 % bands.

Each point of a curve is a proportion, so its band is a proportion's interval: Wilson's, on the
effective n that the variance of the replicates stands for, with a t quantile. There is none below
the minimum number of groups, nor at the beginning of a precision-recall curve, where the precision
depends on a few groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.confusion import ratio
from lesionlab.evaluation.intervals import MINIMUM_GROUPS, MOST_UNDEFINED, enough
from lesionlab.evaluation.limits import t_quantile, wilson_limits
from lesionlab.evaluation.measured import Measured
from lesionlab.evaluation.metric_table import RANKING_METRICS
from lesionlab.evaluation.statistics import FPR_GRID, RECALL_GRID

POINTS = 200
# kind -> (axis, its grid, the statistic, whose minimum number of groups holds)
KINDS = {
    "roc": ("fpr", FPR_GRID, "roc_band", "sensitivity_at_specificity_80"),
    "pr": ("recall", RECALL_GRID, "pr_band", "average_precision"),
}


def counts_by_threshold(
    positive: npt.NDArray[np.bool_], score: Floats, sample_weight: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Each distinct score from the highest down; true and false positives at >= that score."""
    order = np.argsort(-score, kind="stable")
    s, p = score[order], positive[order]
    w = np.ones(len(s)) if sample_weight is None else sample_weight[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return s[ends], np.cumsum(w * p)[ends], np.cumsum(w * ~p)[ends]


def roc_curve(
    positive: npt.NDArray[np.bool_], score: Floats, sample_weight: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """`(fpr, tpr, threshold)`, starting at (0, 0) with an infinite threshold.

    A case is positive at score >= threshold. NaN where a side is empty.
    """
    threshold, tp, fp = counts_by_threshold(positive, score, sample_weight)
    return (
        ratio(np.append(0, fp), fp[-1:]),
        ratio(np.append(0, tp), tp[-1:]),
        np.append(np.inf, threshold),
    )


def pr_curve(
    positive: npt.NDArray[np.bool_], score: Floats, sample_weight: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """`(recall, precision, threshold)` from the highest threshold down."""
    threshold, tp, fp = counts_by_threshold(positive, score, sample_weight)
    return ratio(tp, tp[-1:]), ratio(tp, tp + fp), threshold


def corners(x: Floats, y: Floats) -> Ints:
    """The points of a staircase without those on a straight line between their neighbours."""
    if len(x) < 3:
        return np.arange(len(x))
    dx, dy = np.diff(x), np.diff(y)
    turns = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-15
    return np.flatnonzero(np.concatenate([[True], turns, [True]]))


def thin(x: Floats, y: Floats, points: int = POINTS) -> Ints:
    """At most `points` row numbers, first and last among them, evenly along the curve."""
    kept = corners(x, y)
    if len(kept) <= points:
        return kept
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x[kept]), np.diff(y[kept])))])
    wanted = np.linspace(0, length[-1], points)
    return kept[np.unique(np.searchsorted(length, wanted - 1e-12))]


def curve_json(
    positive: npt.NDArray[np.bool_], score: Floats, bands: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Both curves of a score as lists; an infinite threshold is null."""
    fpr, tpr, cut = roc_curve(positive, score)
    recall, precision, threshold = pr_curve(positive, score)
    r, p = thin(fpr, tpr), thin(recall, precision)
    cuts = [None if np.isinf(v) else float(v) for v in cut[r]]
    roc = {"fpr": fpr[r].tolist(), "tpr": tpr[r].tolist(), "threshold": cuts}
    pr = {
        "recall": recall[p].tolist(),
        "precision": precision[p].tolist(),
        "threshold": threshold[p].tolist(),
    }
    bands = bands or {}
    return {"roc": roc | {"band": bands.get("roc")}, "pr": pr | {"band": bands.get("pr")}}


def bands(m: Measured, name: str) -> dict[str, Any]:
    """`{roc: {fpr, low, high}, pr: {recall, low, high}}` of one score; None with too few groups."""
    fewest = m.cases.scarcer_groups(name)
    found: dict[str, Any] = {}
    for kind, (axis, grid, key, metric) in KINDS.items():
        drawn = m.replicates[f"{key}:{name}"]
        if not enough(fewest, RANKING_METRICS[metric].minimum):
            found[kind] = None
            continue
        low, high = wilson_band(m.point[f"{key}:{name}"], _variance(drawn), fewest)
        if kind == "roc":  # everyone is called positive: nothing is left to chance
            low[-1] = high[-1] = 1.0
        else:
            few = np.array([not enough(n, MINIMUM_GROUPS["proportion"]) for n in grid * fewest])
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
    case.
    """
    spread = value * (1 - value)
    varies = (spread > 0) & (variance > 0)
    n = np.where(varies, spread / np.where(varies, variance, 1.0), float(fewest))
    low, high = wilson_limits(value, n, t_quantile(fewest - 1))
    unknown = np.isnan(value) | np.isnan(variance)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
