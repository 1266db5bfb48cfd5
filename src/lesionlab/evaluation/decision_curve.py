"""Net benefit: is acting on the model better than treating everyone, or nobody?

Vickers and Elkin 2006. At a threshold t a reader accepts (1 - t) / t false alarms for one case
found; net benefit counts cases found less false alarms at that price, a case of the population.
It needs probabilities that are calibrated at the prevalence of the population.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.intervals import MINIMUM_GROUPS, effective_groups

THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


def case_benefit(score: Floats, positive: npt.NDArray[np.bool_], threshold: float) -> Floats:
    """`(N,)`: 1 for a case found, -t / (1 - t) for a false alarm, else 0; positive at >= t."""
    gain = np.where(positive, 1.0, -threshold / (1 - threshold))
    return np.asarray(np.where(score >= threshold, gain, 0.0))


def net_benefit(
    score: Floats,
    positive: npt.NDArray[np.bool_],
    threshold: float,
    prevalence: float | None = None,
) -> float:
    """Net benefit at one threshold, at the data's own prevalence or at a given one.

    >>> net_benefit(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), 0.5)
    0.0
    """
    return float(
        np.average(case_benefit(score, positive, threshold), weights=_weights(positive, prevalence))
    )


def _weights(positive: npt.NDArray[np.bool_], prevalence: float | None) -> Floats:
    if prevalence is None:
        return np.ones(len(positive))
    own = positive.mean()
    return np.asarray(np.where(positive, prevalence / own, (1 - prevalence) / (1 - own)))


def decision_curve(
    score: Floats,
    positive: npt.NDArray[np.bool_],
    codes: Ints,
    thresholds: Floats = THRESHOLDS,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """The curve as lists: `threshold`, `model` and `all` with intervals, `none` (always 0).

    Intervals: t with the variance between groups (`codes (N,)`), pointwise 95 %; none where
    fewer than 25 effective groups of either kind occur, or the model calls fewer positive. `gain`
    is the model's net benefit over the better of treating everyone and nobody.
    """
    needed = MINIMUM_GROUPS["proportion"]  # groups of a kind, or called so: fewer give no interval
    enough = min(_groups(positive, codes), _groups(~positive, codes)) >= needed
    weights = _weights(positive, prevalence)
    everyone = np.ones(len(score))
    rows = []
    for t in thresholds:
        own, all_ = (case_benefit(s, positive, t) for s in (score, everyone))
        best = np.maximum(float(np.average(all_, weights=weights)), 0.0)
        told = enough and _groups(score >= t, codes) >= needed
        rows.append((*_mean(own, weights, codes, told), *_mean(all_, weights, codes, enough), best))
    table = np.array(rows)
    return {
        "prevalence": float(np.average(positive, weights=weights)),
        "n": len(score),
        "threshold": thresholds.tolist(),
        "model": _columns(table[:, 0:3]),
        "all": _columns(table[:, 3:6]),
        "none": 0.0,
        "gain": (table[:, 0] - table[:, 6]).tolist(),
        "method": f"pointwise t interval with the variance between groups; none below {needed}",
    }


def _groups(rows: npt.NDArray[np.bool_], codes: Ints) -> float:
    return effective_groups(np.bincount(codes[rows], minlength=1).astype(np.float64))


def _mean(values: Floats, weights: Floats, codes: Ints, told: bool) -> tuple[float, float, float]:
    value = float(np.average(values, weights=weights))
    off = np.bincount(codes, weights * (values - value))
    m = len(off)
    if not told:
        return value, float("nan"), float("nan")
    spread = np.sqrt(m / (m - 1) * (off**2).sum()) / weights.sum()
    half = float(stdtrit(m - 1, 0.975) * spread)
    return value, value - half, value + half


def _columns(table: Floats) -> dict[str, list[float | None]]:
    names = ("value", "low", "high")
    return {
        name: [float(v) if np.isfinite(v) else None for v in table[:, i]]
        for i, name in enumerate(names)
    }
