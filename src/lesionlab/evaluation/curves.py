"""ROC and precision-recall curves of one score, thinned for a report without changing shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.confusion import ratio
from lesionlab.evaluation.predictions import Floats, Ints

POINTS = 200


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
