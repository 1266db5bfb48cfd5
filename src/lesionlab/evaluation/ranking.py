"""What follows from a score's order: one sort, then any number of weightings at once.

`rank` sorts a score once. `ranked_counts` turns weights `(B, N)`, one row a replicate, into
cumulative counts at the blocks of tied scores that hold a positive case; every area and every
"sensitivity at" is a few sums over those. Undefined values (a class without weight) are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.confusion import ratio
from lesionlab.evaluation.predictions import Floats, Ints


@dataclass(frozen=True)
class Ranking:
    """A score in descending order; a block is a run of equal scores.

    `order (N,)`: row numbers by descending score. `positive (P,)`: positions in that order that
    are positive. For each of the V blocks with a positive case: `last_positive (V,)` indexes
    `positive`, `start (V,)` and `end (V,)` are the first and last position of the block, and
    `threshold (V,)` is its score.
    """

    order: Ints
    positive: Ints
    last_positive: Ints
    start: Ints
    end: Ints
    threshold: Floats


@dataclass(frozen=True)
class RankedCounts:
    """Cumulative weights `(B, V)` at and just before each block, and the totals `(B, 1)`."""

    tp: Floats
    fp: Floats
    tp_before: Floats
    fp_before: Floats
    positives: Floats
    negatives: Floats


def rank(positive: npt.NDArray[np.bool_], score: Floats) -> Ranking:
    """Sort `score (N,)` once; `positive (N,)` says which rows are the class."""
    order = np.argsort(-np.asarray(score, np.float64), kind="stable")
    s, is_positive = score[order], positive[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    starts = np.append(0, ends[:-1] + 1)
    places = np.flatnonzero(is_positive)
    block = np.searchsorted(ends, places)
    last = np.flatnonzero(np.append(block[1:] != block[:-1], True)) if len(places) else places
    held = block[last]
    return Ranking(order, places, last, starts[held], ends[held], s[ends[held]])


def ranked_counts(ranking: Ranking, weights: Floats) -> RankedCounts:
    """Cumulative counts of `weights (B, N)`, whose columns are already in `ranking.order`.

    `weights` is overwritten.
    """
    tp = np.cumsum(weights[:, ranking.positive], axis=1)[:, ranking.last_positive]
    everything = np.cumsum(weights, axis=1, out=weights)
    total = everything[:, -1:]
    before = everything[:, np.maximum(ranking.start - 1, 0)] * (ranking.start > 0)
    tp_before = np.concatenate([np.zeros_like(total), tp[:, :-1]], axis=1)[:, : tp.shape[1]]
    positives = tp[:, -1:] if tp.shape[1] else np.zeros_like(total)
    return RankedCounts(
        tp,
        everything[:, ranking.end] - tp,
        tp_before,
        before - tp_before,
        positives.copy(),
        total - positives,
    )


def roc_auc(c: RankedCounts) -> Floats:
    """`(B,)`: the chance that a positive case outranks a negative one; a tie counts half."""
    wins = (c.tp - c.tp_before) * (c.negatives - (c.fp + c.fp_before) / 2)
    return ratio(wins.sum(1), (c.positives * c.negatives)[:, 0])


def average_precision(c: RankedCounts) -> Floats:
    """`(B,)`: sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation."""
    precision = _safe(c.tp, c.tp + c.fp)
    return ratio(((c.tp - c.tp_before) * precision).sum(1), c.positives[:, 0])


def interpolated_pr_area(c: RankedCounts) -> Floats:
    """`(B,)`: area under the precision-recall curve interpolated as Davis and Goadrich (2006) do.

    Between two thresholds true positives grow in proportion to false positives.
    """
    called, called_before = c.tp + c.fp, c.tp_before + c.fp_before
    slope = _safe(c.tp - c.tp_before, called - called_before)
    start = c.tp_before - slope * called_before
    growth = np.log(_safe(called, called_before, otherwise=1.0))
    area = slope * (c.tp - c.tp_before + start * growth)
    return ratio(area.sum(1), c.positives[:, 0])


def partial_auc(c: RankedCounts, min_sensitivity: float = 0.8) -> Floats:
    """`(B,)`: integral of (1 - FPR) over TPR from `min_sensitivity` to 1.

    In [0, 1 - min_sensitivity]; chance is (1 - min_sensitivity)^2 / 2 (ISIC 2024: [0, 0.2], 0.02).
    """
    tpr, before = _safe(c.tp, c.positives), _safe(c.tp_before, c.positives)
    fpr, fpr_before = _safe(c.fp, c.negatives), _safe(c.fp_before, c.negatives)
    low = np.clip(before, min_sensitivity, None)
    height = np.maximum(tpr - low, 0)
    fpr_low = fpr_before + (fpr - fpr_before) * _safe(low - before, tpr - before)
    area = (height * (1 - (fpr_low + fpr) / 2)).sum(1)
    return np.where(_defined(c), area, np.nan)


def sensitivity_at_specificity(c: RankedCounts, specificity: float) -> Floats:
    """`(B,)`: the highest sensitivity of a threshold whose specificity is at least this."""
    allowed = c.fp <= c.negatives * (1 - specificity + 1e-12)
    best = np.where(allowed, c.tp, 0.0).max(1, initial=0.0)
    return np.where(_defined(c), ratio(best, c.positives[:, 0]), np.nan)


def specificity_at_sensitivity(c: RankedCounts, sensitivity: float) -> Floats:
    """`(B,)`: the highest specificity of a threshold whose sensitivity is at least this."""
    allowed = c.tp >= c.positives * (sensitivity - 1e-12)
    fewest = np.where(allowed, c.fp, np.inf).min(1, initial=np.inf)
    return np.where(_defined(c), 1 - ratio(fewest, c.negatives[:, 0]), np.nan)


def _defined(c: RankedCounts) -> npt.NDArray[np.bool_]:
    return (c.positives[:, 0] > 0) & (c.negatives[:, 0] > 0)


def _safe(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    out = np.full(part.shape, otherwise)
    return np.asarray(np.divide(part, whole, out=out, where=whole > 0))


def sensitivity_along(c: RankedCounts, fpr: Floats) -> Floats:
    """`(B, len(fpr))`: the highest sensitivity at a false positive rate of at most each `fpr`."""
    limits = c.negatives * (fpr + 1e-12)
    tp = np.concatenate([np.zeros_like(c.positives), c.tp], axis=1)
    place = np.stack(
        [np.searchsorted(row, at, "right") for row, at in zip(c.fp, limits, strict=True)]
    )
    return ratio(np.take_along_axis(tp, place, axis=1), c.positives)


def precision_along(c: RankedCounts, recall: Floats) -> Floats:
    """`(B, len(recall))`: precision at the highest threshold that reaches each recall."""
    wanted = c.positives * (recall - 1e-12)
    last = c.tp.shape[1] - 1
    place = np.stack(
        [np.searchsorted(row, at, "left") for row, at in zip(c.tp, wanted, strict=True)]
    )
    place = np.minimum(place, last)
    tp, fp = (np.take_along_axis(v, place, axis=1) for v in (c.tp, c.fp))
    return ratio(tp, tp + fp)
