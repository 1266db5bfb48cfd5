"""Everything that follows from a confusion matrix: pure functions of counts `(..., K, K)`.

`counts[..., i, j]` is the (weighted) number of cases of class i that were called j. Leading axes
are replicates, so one call measures all resamples of a bootstrap. Undefined values are NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints

Mask = npt.NDArray[np.bool_]


def confusion_matrix(
    y_true: Ints, y_pred: Ints, classes: int, sample_weight: Floats | None = None
) -> Floats:
    """`(K, K)` weighted counts: rows are the truth, columns the decision.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    cell = np.asarray(y_true) * classes + np.asarray(y_pred)
    counts = np.bincount(cell, sample_weight, classes * classes).astype(np.float64)
    return counts.reshape(classes, classes)


def ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, NaN where the whole is zero, without a warning."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    out = np.full(whole.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=out, where=whole != 0))


def hits(counts: Floats) -> Floats:
    """`(..., K)`: the cases of each class that were called so (the diagonal)."""
    return np.diagonal(counts, axis1=-2, axis2=-1)


def sensitivity(counts: Floats) -> Floats:
    """`(..., K)`: of the cases of a class, the share called so (recall); NaN: class absent."""
    return ratio(hits(counts), counts.sum(-1))


def specificity(counts: Floats) -> Floats:
    """`(..., K)`: of the cases of the other classes, the share not called this one."""
    total, row, column = counts.sum((-2, -1))[..., None], counts.sum(-1), counts.sum(-2)
    return ratio(total - row - column + hits(counts), total - row)


def f_beta(counts: Floats, beta: float = 1.0) -> Floats:
    """`(..., K)`: F-beta of each class; sensitivity weighs beta times as much as precision."""
    b = beta * beta
    return ratio((1 + b) * hits(counts), b * counts.sum(-1) + counts.sum(-2))


def accuracy(counts: Floats) -> Floats:
    """`(...)`: the share of right decisions."""
    return ratio(hits(counts).sum(-1), counts.sum((-2, -1)))


def mean_over(values: Floats, present: Mask | None) -> Floats:
    """Mean of `values (..., K)` over the classes of the mask `present (K,)`.

    Without a mask: over the classes that are defined anywhere in `values`. A class that counts
    but is undefined in a replicate makes that replicate NaN.
    """
    if present is None:
        present = np.asarray(~np.isnan(values).reshape(-1, values.shape[-1]).all(0))
    if not present.any():
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values[..., present].mean(-1))


def balanced_accuracy(counts: Floats, present: Mask | None = None) -> Floats:
    """`(...)`: mean sensitivity over the classes that occur."""
    return mean_over(sensitivity(counts), present)


def matthews(counts: Floats) -> Floats:
    """`(...)`: Matthews correlation in [-1, 1], for K classes by Gorodkin (2004)."""
    total, row, column = counts.sum((-2, -1)), counts.sum(-1), counts.sum(-2)
    shared = (row * column).sum(-1)
    spread = (total**2 - (row**2).sum(-1)) * (total**2 - (column**2).sum(-1))
    return ratio(hits(counts).sum(-1) * total - shared, np.sqrt(np.maximum(spread, 0)))


def kappa(counts: Floats) -> Floats:
    """`(...)`: Cohen's kappa, unweighted, at most 1."""
    total = counts.sum((-2, -1))
    chance = ratio((counts.sum(-1) * counts.sum(-2)).sum(-1), total**2)
    return ratio(accuracy(counts) - chance, 1 - chance)


def quadratic_kappa(counts: Floats) -> Floats:
    """`(...)`: Cohen's kappa with squared distances as weights, in [-1, 1].

    Of ordered classes only: a decision d places off costs d^2, whichever names the places have.
    Cohen, Psychological Bulletin 1968.

    >>> counts = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 2.0]])
    >>> round(float(quadratic_kappa(counts)), 3)
    0.385
    """
    place = np.arange(counts.shape[-1])
    cost = (place[:, None] - place) ** 2.0
    expected = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :]
    seen = (cost * counts).sum((-2, -1)) * counts.sum((-2, -1))
    return 1 - ratio(seen, (cost * expected).sum((-2, -1)))
