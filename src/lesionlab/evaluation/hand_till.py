"""The AUC of several classes by pairs (Hand and Till 2001), and its variance between groups.

Each pair of classes is compared on its own cases alone, so that the frequencies of the classes do
not matter; one-versus-rest AUCs, by contrast, are those against the commonest classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.intervals import effective_groups
from lesionlab.evaluation.limits import Spread, spread_of_sums
from lesionlab.evaluation.paired import placements

NOTABLE = 0.1  # share of the variance from which on a class counts for its degrees of freedom


@dataclass(frozen=True)
class PairwiseAuc:
    """The mean AUC over pairs of classes, in [0, 1]; NaN where fewer than two classes occur.

    `off (K, G)` is what the cases of each class in each group add to its error, `groups (K,)`
    the effective number of groups that hold each class.
    """

    value: float
    off: Floats
    groups: Floats

    def spread(self) -> Spread:
        """Its variance between groups, as that of one AUC by Obuchowski (Biometrics 1997).

        Each class's own part is scaled by m / (m - 1) of its m effective groups. The degrees of
        freedom are the smallest of any class that bears a tenth of the variance: in a strong model
        the few groups far out decide, and those of all classes together hide them.
        """
        own = float(((self.off**2).sum(1) / np.maximum(self.groups - 1, 0.5)).sum())
        variance = float((self.off.sum(0) ** 2).sum()) + own
        each = [spread_of_sums(row[row != 0]) for row in self.off]  # 0: a group without the class
        bearing = [s.df for s in each if s.variance > NOTABLE * variance]
        return Spread(variance, min(bearing, default=1.0))


def pairwise_auc(y_true: Ints, y_prob: Floats, codes: Ints | None = None) -> PairwiseAuc:
    """Hand and Till's M over the classes that occur, in O(K N log N).

    A(i, j) is the mean of two AUCs on the cases of classes i and j alone: one by the probability
    of i, one by that of j. M is the mean of A over all pairs. `codes (N,)` number the groups.
    Hand and Till, Machine Learning 45 (2001) 171-186; scikit-learn: `multi_class="ovo"`.

    >>> prob = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7]])
    >>> pairwise_auc(np.array([0, 1, 0, 2]), prob).value
    1.0
    """
    codes = np.arange(len(y_true)) if codes is None else codes
    size = (y_prob.shape[1], int(codes.max(initial=-1)) + 1)
    present = np.unique(y_true)
    rows = [np.flatnonzero(y_true == k) for k in present]
    pairs = len(present) * (len(present) - 1) / 2
    value, off, groups = 0.0, np.zeros(size), np.zeros(size[0])
    if not pairs:
        return PairwiseAuc(float("nan"), off, groups)
    for k, own in zip(present, rows, strict=True):
        total = np.zeros(len(own))
        for other, theirs in zip(present, rows, strict=True):
            if other != k:
                total += _wins(y_prob, k, own, other, theirs)
        value += float(total.mean()) / (2 * pairs)
        error = (total - total.mean()) / (pairs * len(own))
        off[k] = np.bincount(codes[own], error, size[1])
        groups[k] = effective_groups(np.bincount(codes[own]).astype(np.float64))
    return PairwiseAuc(value, off, groups)


def _wins(y_prob: Floats, k: int, own: Ints, other: int, theirs: Ints) -> Floats:
    """`(len(own),)`: the share of the other class's cases that each case is told from."""
    by_own = placements(y_prob[own, k], y_prob[theirs, k])
    by_other = 1 - placements(y_prob[own, other], y_prob[theirs, other])
    return np.asarray((by_own + by_other) / 2)
