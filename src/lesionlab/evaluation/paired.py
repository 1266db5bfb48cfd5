"""Two models on the same cases: DeLong, McNemar, group-level permutation, Holm.

DeLong and McNemar suppose independent cases: they are for one image a group. The permutation
test swaps the two models' answers within whole groups, so images of one patient stay together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.limits import Spread, spread_of_sums

Flags = npt.NDArray[np.bool_]
CHUNK_CELLS = 1 << 22  # signs (permutations x groups) held at once


def midranks(score: Floats) -> Floats:
    """(N,) ranks from 1, ties sharing their mean rank."""
    return np.asarray(stats.rankdata(score), np.float64)


def placements(score: Floats, reference: Floats) -> Floats:
    """(N,): the share of `reference` below each score, ties counting half, in [0, 1].

    >>> placements(np.array([0.5, 0.9]), np.array([0.1, 0.5])).tolist()
    [0.75, 1.0]
    """
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")
    return np.asarray(below / (2 * len(ordered)))


@dataclass(frozen=True)
class DeLong:
    """AUCs (M,) of M scores on the same cases, their covariance (M, M) and its df (M,)."""

    auc: Floats
    covariance: Floats
    df: Floats
    of_difference: Spread  # of the first AUC minus the last

    def spread(self, m: int = 0) -> Spread:
        """The variance of score m's AUC, and the degrees of freedom behind it."""
        return Spread(float(self.covariance[m, m]), float(self.df[m]))

    def correlation(self) -> float:
        """Of the first two AUCs; 0 where one of them does not vary."""
        scale = math.sqrt(float(self.covariance[0, 0] * self.covariance[1, 1]))
        return float(self.covariance[0, 1]) / scale if scale > 0 else 0.0


def delong(positive: Flags, scores: Floats) -> DeLong:
    """AUCs of `scores (M, N)` with their covariance, in O(M N log N).

    DeLong, DeLong and Clarke-Pearson (Biometrics 1988), by the placements of Sun and Xu (2014).
    Needs two positive and two negative cases, each independent of the others.
    """
    up = np.stack([placements(s[positive], s[~positive]) for s in scores])
    down = np.stack([1 - placements(s[~positive], s[positive]) for s in scores])
    covariance = (
        np.atleast_2d(np.cov(up)) / up.shape[1] + np.atleast_2d(np.cov(down)) / down.shape[1]
    )
    df = [
        _joined_df(_placement_spread(u), _placement_spread(d))
        for u, d in zip(up, down, strict=True)
    ]
    c = covariance
    apart = _joined_df(_placement_spread(up[0] - up[-1]), _placement_spread(down[0] - down[-1]))
    gap = Spread(max(float(c[0, 0] + c[-1, -1] - 2 * c[0, -1]), 0.0), apart)
    return DeLong(up.mean(axis=1), c, np.array(df), gap)


def _placement_spread(values: Floats) -> Spread:
    """Of the mean of placements."""
    return spread_of_sums((values - values.mean()) / len(values))


def _joined_df(a: Spread, b: Spread) -> float:
    """Degrees of freedom of a sum of two independent variances (Satterthwaite 1946)."""
    parts = a.variance**2 / a.df + b.variance**2 / b.df
    return (a.variance + b.variance) ** 2 / parts if parts > 0 else math.inf


def delong_difference(positive: Flags, a: Floats, b: Floats) -> tuple[float, float, float]:
    """AUC of `a` minus that of `b`, its standard error, and the two-sided p-value."""
    found = delong(positive, np.stack([a, b]))
    difference = float(found.auc[0] - found.auc[1])
    error = math.sqrt(found.of_difference.variance)
    if error < 1e-12:
        return difference, error, 1.0 if abs(difference) < 1e-12 else 0.0
    return difference, error, float(2 * stats.norm.sf(abs(difference) / error))


def mcnemar(right_a: Flags, right_b: Flags) -> tuple[int, int, float]:
    """Cases that only A, and only B, has right, and the exact two-sided p-value.

    >>> mcnemar(np.array([True] * 6), np.array([False] * 6))
    (6, 0, 0.03125)
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    p = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
    return only_a, only_b, float(p)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """McNemar's mid-p: outcomes exactly as far out as the one that was seen count half.

    Less conservative than the exact test, and it keeps its level in practice (Fagerland, Lydersen
    and Laake, BMC Medical Research Methodology 2013).

    >>> round(mcnemar_mid_p(1, 9), 5)
    0.01172
    """
    n = only_a + only_b
    if n == 0:
        return 1.0
    equally_far = {only_a, only_b}
    half = float(sum(stats.binom.pmf(k, n, 0.5) for k in equally_far)) / 2
    return float(stats.binomtest(only_a, n, 0.5).pvalue) - half


def auc_contributions(positive: Flags, a: Floats, b: Floats) -> Floats:
    """(N,) c such that the AUC difference after swapping the cases with sign -1 is sum(s * c).

    The scores are compared on the scale of their ranks, so that only the order within a model
    matters (Bandos, Rockette and Gur, Statistics in Medicine 2005). With signs s_i, s_j the pair
    (i, j) contributes (s_i + s_j) / 2 of (AA - BB) and (s_i - s_j) / 2 of (AB - BA): linear in
    the signs, so the exact distribution costs one matrix product.
    """
    a, b = midranks(a), midranks(b)
    pos, neg = positive, ~positive
    c = np.empty(len(positive))
    own = placements(a[pos], a[neg]) - placements(b[pos], b[neg])
    cross = placements(a[pos], b[neg]) - placements(b[pos], a[neg])
    c[pos] = (own + cross) / (2 * pos.sum())
    own = placements(b[neg], b[pos]) - placements(a[neg], a[pos])
    cross = placements(a[neg], b[pos]) - placements(b[neg], a[pos])
    c[neg] = (own - cross) / (2 * neg.sum())
    return c


def permutation_test(
    contributions: Floats, codes: Ints, *, resamples: int = 9999, seed: int = 0
) -> float:
    """Two-sided p-value of sum(contributions) when whole groups swap the models at random.

    `codes (N,)` are group numbers. The smallest p-value is 1 / (resamples + 1).
    """
    by_group = np.bincount(codes, contributions)
    observed = abs(by_group.sum())
    tolerance = 1e-12 * max(float(np.abs(by_group).sum()), 1e-300)
    by_group = by_group[np.abs(by_group) > 0]
    if not len(by_group) or observed <= tolerance:
        return 1.0
    extreme, size = 0, max(1, CHUNK_CELLS // len(by_group))
    for chunk, start in enumerate(range(0, resamples, size)):
        generator = np.random.Generator(np.random.Philox(key=[seed, chunk]))
        shape = (min(size, resamples - start), len(by_group))
        signs = generator.integers(0, 2, shape, dtype=np.int8)
        drawn = 2.0 * (signs @ by_group) - by_group.sum()
        extreme += int((np.abs(drawn) >= observed - tolerance).sum())
    return (extreme + 1) / (resamples + 1)


def swap_test(
    statistic: Callable[[Floats, Floats], float],
    a: Floats,
    b: Floats,
    codes: Ints,
    *,
    resamples: int = 999,
    seed: int = 0,
) -> float:
    """Like `permutation_test`, for any statistic of two scores (N, ...): computes each swap."""
    observed, extreme = abs(statistic(a, b)), 0
    for draw in range(resamples):
        generator = np.random.Generator(np.random.Philox(key=[seed, draw]))
        swap = generator.integers(0, 2, int(codes.max()) + 1, dtype=np.int8)[codes] == 1
        turned = swap if a.ndim == 1 else swap[:, None]
        drawn = statistic(np.where(turned, b, a), np.where(turned, a, b))
        extreme += abs(drawn) >= observed - 1e-12
    return (extreme + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, which in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * float(p_values[which])))
        adjusted[which] = highest
    return adjusted
