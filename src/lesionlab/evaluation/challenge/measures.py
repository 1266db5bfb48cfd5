"""The formulas of the official scoring package, to its last habit: ties, freebies and all.

The ISIC challenges 2016 to 2019 are scored by `isic-challenge-scoring` (Apache-2.0). Where a
quantity is a plain AUC or average precision, `evaluation.metrics` computes it; what follows is
what that package does in its own way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import auc as trapezium
from sklearn.metrics import roc_curve

from lesionlab.array_types import Floats
from lesionlab.evaluation import metrics

Truth = npt.NDArray[np.bool_]
CUT = 0.5  # per-class decisions are `> 0.5`, whatever the other classes say


def balanced_accuracy(truth: Floats, score: Floats, weight: Floats) -> float:
    """Mean over the classes with weight of TP_k / P_k; a tie for the maximum is wrong.

    `truth` and `score` are (N, K). NaN where no class has weight.

    >>> truth = np.eye(2)
    >>> balanced_accuracy(truth, np.array([[0.9, 0.1], [0.5, 0.5]]), np.ones(2))
    0.5
    """
    is_best = score == score.max(axis=1, keepdims=True)
    decided = is_best & (is_best.sum(axis=1, keepdims=True) == 1)
    positives = weight @ truth
    hits = weight @ (truth * decided)
    present = positives > 0
    return float((hits[present] / positives[present]).mean()) if present.any() else float("nan")


def area_above_sensitivity(
    truth: Truth, score: Floats, weight: Floats, sensitivity: float = 0.8
) -> float:
    """`auc_sens_80`: the area under the whole height of the ROC curve, right of TPR 0.8.

    Not the 2024 partial AUC (that is `metrics.partial_auc`), and not rescaled. NaN where a side
    has no weight.
    """
    kept = weight != 0
    if not _both_sides(truth[kept]):
        return float("nan")
    # scikit-learn's own curve: a threshold at exactly 0.8 must fall on the same side as there.
    uniform = bool((weight[kept] == 1).all())
    fpr, tpr, _ = roc_curve(
        truth[kept],
        score[kept],
        sample_weight=None if uniform else weight[kept],
        drop_intermediate=False,
    )
    at = int(tpr.searchsorted(sensitivity, side="left"))
    start = float(np.interp(sensitivity, tpr[at - 1 : at + 1], fpr[at - 1 : at + 1]))
    return float(trapezium(np.append(start, fpr[at:]), np.append(sensitivity, tpr[at:])))


def category(truth: Truth, score: Floats, weight: Floats) -> dict[str, float]:
    """The nine numbers of one class against the rest, under the package's names.

    A share of nothing (sensitivity without positives, PPV without calls ...) counts as 1, as
    there; an area without both sides is NaN, where the package stops with a traceback.
    """
    called = score > CUT
    tp, fp = float(weight[truth & called].sum()), float(weight[~truth & called].sum())
    fn, tn = float(weight[truth & ~called].sum()), float(weight[~truth & ~called].sum())
    areas = (
        metrics.roc_auc(truth, score, weight),
        area_above_sensitivity(truth, score, weight),
        metrics.average_precision(truth, score, weight),
    )
    if not (tp + fn > 0 and tn + fp > 0):
        areas = (float("nan"),) * 3
    return {
        "accuracy": _share(tp + tn, tp + tn + fp + fn),
        "sensitivity": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp),
        "dice": _share(2 * tp, 2 * tp + fp + fn),
        "ppv": _share(tp, tp + fp),
        "npv": _share(tn, tn + fn),
        "auc": areas[0],
        "auc_sens_80": areas[1],
        "ap": areas[2],
    }


def confusion_at(truth: Truth, score: Floats, threshold: float) -> Floats:
    """(2, 2) counts, rows truth (benign, malignant); positive at score >= threshold."""
    called = score >= threshold
    cell = truth.astype(int) * 2 + called
    return np.bincount(cell, minlength=4).reshape(2, 2).astype(float)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _both_sides(truth: Truth) -> bool:
    return bool(truth.any() and not truth.all())
