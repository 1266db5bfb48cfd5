"""What follows from a score's order: one sort, then any number of weightings at once.

`rank` sorts a score once and cuts the order at the blocks of tied scores that hold a positive
case. `ranked_counts` sums, for each of B weightings of the groups, what lies in and between
those blocks, as one sparse product and cumulative sums; every area and every "sensitivity at" is
a few sums over that. Undefined values (a class without weight) are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.confusion import ratio

TINY = 1e-300
ROUNDING = 1e-12  # a share of exactly 0.95 may come out a hair below


@dataclass(frozen=True)
class Ranking:
    """A score in descending order, cut at the V blocks of equal scores with a positive case.

    `sums (2 V + 1 [+ V], G)` is sparse: what each group adds to the positives of each block, to
    the negatives above each block (below the one before) and below the last, and, where a
    block holds both (`tied`), to the negatives of each block. `threshold (V,)` is its score.
    """

    sums: Any
    threshold: Floats
    tied: bool


@dataclass(frozen=True)
class RankedCounts:
    """Cumulative weights `(V, B)` at and just before each block, and the totals `(B,)`."""

    tp: Floats
    fp: Floats
    tp_before: Floats
    fp_before: Floats
    positives: Floats
    negatives: Floats


def rank(
    positive: npt.NDArray[np.bool_],
    score: Floats,
    codes: Ints | None = None,
    sample_weight: Floats | None = None,
) -> Ranking:
    """Sort `score (N,)` once; `positive (N,)` says which rows are the class.

    `codes (N,)` are the groups of the rows (each row its own, where not given).
    """
    s = np.asarray(score, np.float64)
    codes = np.arange(len(s)) if codes is None else codes
    weight = np.ones(len(s)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    held = np.unique(s[positive])[::-1]  # the blocks' scores, from the highest down
    # How many blocks lie strictly above each row, and whether it lies in one.
    above = np.searchsorted(-held, -s)
    inside = np.append(held, np.nan)[above] == s
    tied = inside & ~positive
    blocks = len(held)
    row = np.where(positive, above, blocks + above)
    row = np.where(tied, 2 * blocks + 1 + above, row)
    shape = (2 * blocks + 1 + blocks * bool(tied.any()), int(codes.max(initial=0)) + 1)
    sums = sparse.coo_array((weight, (row, codes)), shape=shape).tocsr()
    return Ranking(sums, held, bool(tied.any()))


def ranked_counts(ranking: Ranking, counts: Floats | None = None) -> RankedCounts:
    """Cumulative counts for group counts `(G, B)`; each group once where not given."""
    if counts is None:
        counts = np.ones((ranking.sums.shape[1], 1))
    sums = ranking.sums @ counts
    v = len(ranking.threshold)
    tp = np.cumsum(sums[:v], axis=0)
    between = np.cumsum(sums[v : 2 * v + 1], axis=0)
    zero = np.zeros((1, sums.shape[1]))
    if ranking.tied:
        inside = np.cumsum(sums[2 * v + 1 :], axis=0)
        fp = between[:-1] + inside
        fp_before = fp - sums[2 * v + 1 :]
        negatives = between[-1] + inside[-1]
    else:
        fp = fp_before = between[:-1]
        negatives = between[-1]
    tp_before = np.concatenate([zero, tp[:-1]])[:v]
    return RankedCounts(tp, fp, tp_before, fp_before, tp[-1] if v else zero[0], negatives)


def roc_auc(c: RankedCounts) -> Floats:
    """`(B,)`: the chance that a positive case outranks a negative one; a tie counts half."""
    wins = (c.tp - c.tp_before) * (c.negatives - (c.fp + c.fp_before) / 2)
    return ratio(wins.sum(0), c.positives * c.negatives)


def average_precision(c: RankedCounts) -> Floats:
    """`(B,)`: sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation."""
    precision = _share(c.tp, c.tp + c.fp)
    return ratio(((c.tp - c.tp_before) * precision).sum(0), c.positives)


def interpolated_pr_area(c: RankedCounts) -> Floats:
    """`(B,)`: area under the precision-recall curve interpolated as Davis and Goadrich (2006) do.

    Between two thresholds true positives grow in proportion to false positives.
    """
    called, called_before = c.tp + c.fp, c.tp_before + c.fp_before
    gain = c.tp - c.tp_before
    slope = _share(gain, called - called_before)
    start = c.tp_before - slope * called_before
    # Where nothing was called before, `start` is 0 and the logarithm only has to be finite.
    growth = np.log(np.maximum(called, TINY) / np.maximum(called_before, TINY))
    return ratio((slope * (gain + start * growth)).sum(0), c.positives)


def partial_auc(c: RankedCounts, min_sensitivity: float = 0.8) -> Floats:
    """`(B,)`: integral of (1 - FPR) over TPR from `min_sensitivity` to 1.

    In [0, 1 - min_sensitivity]; chance is (1 - min_sensitivity)^2 / 2 (ISIC 2024: [0, 0.2], 0.02).
    """
    tpr, before = _share(c.tp, c.positives), _share(c.tp_before, c.positives)
    fpr, fpr_before = _share(c.fp, c.negatives), _share(c.fp_before, c.negatives)
    low = np.clip(before, min_sensitivity, None)
    height = np.maximum(tpr - low, 0)
    part = np.minimum(_share(low - before, tpr - before), 1)
    fpr_low = fpr_before + (fpr - fpr_before) * part
    area = (height * (1 - (fpr_low + fpr) / 2)).sum(0)
    return np.where(_defined(c), area, np.nan)


def sensitivity_at_specificity(c: RankedCounts, specificity: float) -> Floats:
    """`(B,)`: the highest sensitivity of a threshold whose specificity is at least this."""
    allowed = c.fp <= c.negatives * (1 - specificity + ROUNDING)
    best = np.where(allowed, c.tp, 0.0).max(0, initial=0.0)
    return np.where(_defined(c), ratio(best, c.positives), np.nan)


def specificity_at_sensitivity(c: RankedCounts, sensitivity: float) -> Floats:
    """`(B,)`: the highest specificity of a threshold whose sensitivity is at least this."""
    allowed = c.tp >= c.positives * (sensitivity - ROUNDING)
    fewest = np.where(allowed, c.fp, np.inf).min(0, initial=np.inf)
    return np.where(_defined(c), 1 - ratio(fewest, c.negatives), np.nan)


def _defined(c: RankedCounts) -> npt.NDArray[np.bool_]:
    return np.asarray((c.positives > 0) & (c.negatives > 0))


def _share(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, 0 where both are 0 (faster than a masked division)."""
    return np.asarray(part / np.maximum(whole, TINY))


def sensitivity_along(c: RankedCounts, fpr: Floats) -> Floats:
    """`(B, len(fpr))`: the highest sensitivity at a false positive rate of at most each `fpr`."""
    limits = c.negatives[:, None] * (fpr + ROUNDING)
    tp = np.concatenate([np.zeros((len(c.positives), 1)), c.tp.T], axis=1)
    place = _places(c.fp, limits, "right")
    return ratio(np.take_along_axis(tp, place, axis=1), c.positives[:, None])


def precision_along(c: RankedCounts, recall: Floats) -> Floats:
    """`(B, len(recall))`: precision at the highest threshold that reaches each recall."""
    wanted = c.positives[:, None] * (recall - ROUNDING)
    place = np.minimum(_places(c.tp, wanted, "left"), len(c.tp) - 1)
    tp, fp = (np.take_along_axis(v.T, place, axis=1) for v in (c.tp, c.fp))
    return ratio(tp, tp + fp)


def _places(rising: Floats, wanted: Floats, side: Literal["left", "right"]) -> Ints:
    """`(B, M)`: where each of `wanted (B, M)` stands in the columns of `rising (V, B)`."""
    rows = np.ascontiguousarray(rising.T)
    found = [np.searchsorted(row, at, side) for row, at in zip(rows, wanted, strict=True)]
    return np.stack(found)
