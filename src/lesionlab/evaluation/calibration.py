"""Probabilities from logits, and from probabilities at another prevalence.

    prob = softmax(z / T + log p - log q)

`q` is the class prior that training implied (after class weights and sampling), `p` the
prevalence at which the probabilities shall hold, `T` the temperature, fitted on validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, counted

TEMPERATURES = (0.05, 20.0)
PRIOR = 3.0  # rows that the prior on 1 / T weighs; alone it puts 95 % of T in 0.4 to 4.9
UNSURE = 1.5  # prior and labels apart by this factor: the labels do not determine T
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


@dataclass(frozen=True)
class FittedTemperature:
    """A fitted temperature, and whether the labels determine it.

    `likeliest` is what the likelihood alone gives, without the prior, within the borders;
    `rows` are the labelled rows of positive weight.
    """

    temperature: float
    likeliest: float
    rows: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know before believing it: one sentence, or none."""
        t, alone = self.temperature, self.likeliest
        labels = f"the labels of {counted(self.rows, 'row')}"
        low, high = TEMPERATURES
        if t > high / UNSURE or alone == high:
            return (f"{labels} contradict the probabilities: alone they ask for a temperature "
                    f"at the border of its range, {high:g}, and {t:.3g} is taken; check labels "
                    "and classes",)  # fmt: skip
        if t == low:
            return (f"{labels} ask for a temperature below the border of its range, {low:g}, "
                    "which is taken; check the scale of the logits",)  # fmt: skip
        if alone in TEMPERATURES or abs(np.log(alone / t)) > np.log(UNSURE):
            border = ", the border" if alone in TEMPERATURES else ""
            return (f"{labels} do not determine the temperature: alone they give {alone:.3g}"
                    f"{border}; with the prior around 1 it is {t:.3g}",)  # fmt: skip
        return ()


def fit_temperature(
    logits: npt.NDArray[np.floating],
    y_true: Ints,
    offset: Floats | None = None,
    sample_weight: Floats | None = None,
) -> FittedTemperature:
    """The most probable temperature T in [0.05, 20] of softmax(logits / T + offset).

    `logits` is (N, K); `offset` (K,) is log p - log q (0 where not given); rows with
    `y_true` < 0 are left out. Guo et al. 2017, with a gamma prior of mean 1 on 1 / T, of the
    weight of `PRIOR` rows: without it, labels that are all right would ask for T = 0
    (docs/decisions/0310). The weights count by their effective number, (sum)^2 / sum of squares.
    The loss is convex in 1 / T, so the root of its derivative is the minimum. Raises `BadInput`
    without a labelled row, or for logits that are not finite.

    >>> z = np.array([[9.0, 0.0], [0.0, 9.0]] * 5)
    >>> found = fit_temperature(z, np.array([0, 1] * 5))
    >>> round(found.temperature, 2), found.likeliest, len(found.notes)
    (1.0, 0.05, 1)
    """
    known = np.asarray(y_true) >= 0
    weight = np.ones(len(known)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    known &= weight > 0
    z, truth, weight = (
        np.asarray(logits, np.float64)[known],
        np.asarray(y_true)[known],
        weight[known],
    )
    if not len(truth) or not np.isfinite(z).all():
        what = "no labelled row" if not len(truth) else "logits are not finite"
        raise BadInput(f"{what}: no temperature can be fitted", where="calibration")
    shift = np.zeros(z.shape[1]) if offset is None else np.asarray(offset, np.float64)
    slope = _slope(z, truth, shift, weight * (weight.sum() / (weight**2).sum()))
    return FittedTemperature(
        1 / _root(lambda inverse: slope(inverse) + PRIOR * (1 - 1 / inverse)),
        1 / _root(slope),
        len(truth),
    )


def _slope(z: Floats, truth: Ints, shift: Floats, weight: Floats) -> Callable[[float], float]:
    """The derivative of the summed NLL by 1 / T; it rises with 1 / T."""
    kept = np.isfinite(shift)
    z_true = z[np.arange(len(truth)), truth]

    def slope(inverse: float) -> float:
        prob = softmax(z[:, kept] * inverse + shift[kept])
        return float((((prob * z[:, kept]).sum(1) - z_true) * weight).sum())

    return slope


def _root(slope: Callable[[float], float]) -> float:
    """Where a rising function of 1 / T crosses 0 within the borders, else the nearer border."""
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    return float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))


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
