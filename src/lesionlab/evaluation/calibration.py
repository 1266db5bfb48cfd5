"""Probabilities from logits, and from probabilities at another prevalence.

    prob = softmax(z / T + log p - log q)

`q` is the class prior that training implied (after class weights and sampling), `p` the
prevalence at which the probabilities shall hold, `T` the temperature, fitted on validation.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput

TEMPERATURES = (0.05, 20.0)
F = TypeVar("F", np.float32, np.float64)


def softmax(logits: npt.NDArray[F]) -> npt.NDArray[F]:
    """Row-wise softmax of `(N, K)` in the dtype of `logits` (float32 or float64)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=logits.dtype)


def log_prior_ratio(prior: npt.ArrayLike, train_prior: npt.ArrayLike) -> Floats:
    """`(K,)` log p - log q: what is added to the scaled logits. -inf where p is 0.

    Raises `BadInput` where a class has prior p > 0 but was never trained (q = 0).
    """
    p, q = np.asarray(prior, np.float64), np.asarray(train_prior, np.float64)
    for name, values in (("prior", p), ("train_prior", q)):
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
            raise BadInput(f"{name} must be finite numbers >= 0", where="calibration")
    if p.shape != q.shape or ((p > 0) & (q == 0)).any():
        raise BadInput("a class with prior > 0 has train_prior 0", where="calibration")
    offset = np.full(p.shape, -np.inf)
    kept = p > 0
    offset[kept] = np.log(p[kept] / p.sum()) - np.log(q[kept] / q.sum())
    return offset


def probabilities(
    logits: npt.NDArray[F],
    temperature: float,
    prior: npt.ArrayLike,
    train_prior: npt.ArrayLike,
) -> npt.NDArray[F]:
    """`(N, K)` probabilities at prevalence `prior`: softmax(z / T + log p - log q).

    Computed in the dtype of `logits` (float32 as trained and served, or float64).

    >>> probabilities(np.zeros((1, 2)), 1.0, [0.9, 0.1], [0.5, 0.5]).round(3).tolist()
    [[0.9, 0.1]]
    """
    offset = log_prior_ratio(prior, train_prior).astype(logits.dtype)
    return softmax(logits / logits.dtype.type(temperature) + offset)


def fit_temperature(
    logits: npt.NDArray[np.floating],
    y_true: Ints,
    offset: Floats | None = None,
    sample_weight: Floats | None = None,
) -> float:
    """The temperature T in [0.05, 20] of least NLL of softmax(logits / T + offset).

    `logits` is (N, K); `offset` (K,) is log p - log q (0 where not given); rows with
    `y_true` < 0 are left out. Guo et al. 2017. NLL is convex in 1 / T, so the root of its
    derivative is the minimum. Raises `BadInput` without a labelled row, or for logits that are
    not finite.
    """
    known = np.asarray(y_true) >= 0
    z, truth = np.asarray(logits, np.float64)[known], np.asarray(y_true)[known]
    if not len(truth) or not np.isfinite(z).all():
        what = "no labelled row" if not len(truth) else "logits are not finite"
        raise BadInput(f"{what}: no temperature can be fitted", where="calibration")
    weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight)[known]
    shift = np.zeros(z.shape[1]) if offset is None else np.asarray(offset, np.float64)
    kept = np.isfinite(shift)
    z_true = z[np.arange(len(truth)), truth]

    def slope(inverse: float) -> float:
        prob = softmax(z[:, kept] * inverse + shift[kept])
        return float(np.average((prob * z[:, kept]).sum(1) - z_true, weights=weight))

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(low) >= 0:
        return TEMPERATURES[1]
    if slope(high) <= 0:
        return TEMPERATURES[0]
    return float(1 / brentq(slope, low, high, xtol=1e-12, rtol=1e-12))


def prior_shift(y_prob: Floats, prior_from: npt.ArrayLike, prior_to: npt.ArrayLike) -> Floats:
    """`(N, K)` probabilities moved from one prevalence to another (Saerens et al. 2002).

    Holds where only the class frequencies change, not the look of each class.

    >>> prior_shift(np.array([[0.9, 0.1]]), [0.9, 0.1], [0.5, 0.5]).round(3).tolist()
    [[0.5, 0.5]]
    """
    offset = log_prior_ratio(prior_to, prior_from)
    shifted = np.asarray(y_prob, np.float64) * np.exp(offset)
    total = shifted.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        row = int(np.flatnonzero(total[:, 0] <= 0)[0])
        raise BadInput(
            f"row {row} holds no probability on a class of the new prior", where="calibration"
        )
    return np.asarray(shifted / total)
