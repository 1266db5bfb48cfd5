"""Does a predicted probability come true? Bins with intervals, and one-number summaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    Measure,
    effective_groups,
    enough,
    measure,
    proportion_measure,
    too_few,
)
from lesionlab.evaluation.limits import Spread, log_limits, spread_of_sums, t_quantile

BINS = 15
EDGE = 1e-9
LINE = ("slope", "intercept", "observed_expected")
ECE_METHOD = "15 equal-width bins of the highest probability; biased upward, so no interval"


def bin_numbers(confidence: Floats, bins: int = BINS) -> Ints:
    """`(N,)` the equal-width bin of [0, 1] of each confidence; (low, high], 0 in the first."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def expected_calibration_error(
    confidence: Floats,
    hit: npt.NDArray[np.bool_],
    bins: int = BINS,
    sample_weight: Floats | None = None,
) -> float:
    """Mean over cases of |observed - predicted| of their bin, in [0, 1] (Naeini et al. 2015).

    `confidence (N,)` is the highest probability, `hit (N,)` whether that class is the truth.
    Biased upward in small samples: a perfect model does not get 0.
    """
    w = np.ones(len(confidence)) if sample_weight is None else sample_weight
    where = bin_numbers(confidence, bins)
    gap = np.bincount(where, w * (hit - confidence), bins)
    return float(np.abs(gap).sum() / w.sum()) if w.sum() else float("nan")


def reliability_bins(
    score: Floats, positive: npt.NDArray[np.bool_], codes: Ints, bins: int = 10
) -> list[dict[str, Any]]:
    """Bins of equal counts: `{low, high, n, mean_prob, observed: Measure}`, from low to high.

    Equal scores stay in one bin; `codes (N,)` are the groups of the cases.
    """
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1), method="higher"))
    where = np.clip(np.searchsorted(edges, score, "right") - 1, 0, max(len(edges) - 2, 0))
    result = []
    for b in np.unique(where):
        inside = where == b
        observed: Measure = proportion_measure(inside & positive, inside, codes)
        result.append(
            {
                "low": float(score[inside].min()),
                "high": float(score[inside].max()),
                "n": int(inside.sum()),
                "mean_prob": float(score[inside].mean()),
                "observed": observed.to_json(),
            }
        )
    return result


def calibration_line(
    score: Floats, positive: npt.NDArray[np.bool_], codes: Ints
) -> dict[str, Measure]:
    """Is the risk right on average, and is it spread right? Three numbers with intervals.

    `slope`: of a logistic regression of the truth on logit(score); 1 is right, below 1 the
    scores are too extreme. `intercept`: of the same with the slope held at 1 (calibration in
    the large); 0 is right, above 0 the risk is underestimated. `observed_expected`: cases over
    the sum of the scores; 1 is right. Van Calster et al., BMC Medicine 2019. Intervals: t, with
    the variance between groups (sandwich). Scores of 0 and 1 count as 1e-9 off.
    """
    x = logit(np.clip(score, EDGE, 1 - EDGE))
    y = positive.astype(np.float64)
    sides = [np.bincount(codes[rows], minlength=1).astype(float) for rows in (positive, ~positive)]
    groups = min(effective_groups(size) for size in sides)
    n, needed = len(y), MINIMUM_GROUPS["calibration"]
    if not 0 < y.sum() < n:
        return dict.fromkeys(LINE, Measure(None, None, None, n, "undefined: one class only"))
    slope = _logistic(np.stack([np.ones(n), x], axis=1), np.zeros(n), y, codes)
    level = _logistic(np.ones((n, 1)), x, y, codes)
    limits = {
        "slope": _t_limits(*slope[1]),
        "intercept": _t_limits(*level[0]),
        "observed_expected": _ratio_limits(y, score, codes, groups),
    }
    method = f"t, variance between {len(np.unique(codes))} groups"
    return {
        name: measure(v, a, b, n, method)
        if enough(groups, needed)
        else too_few(v, n, groups, needed)
        for name, (v, a, b) in limits.items()
    }


def _t_limits(value: float, spread: Spread) -> tuple[float, float, float]:
    half = t_quantile(spread.df) * np.sqrt(spread.variance)
    return value, value - half, value + half


def _ratio_limits(
    y: Floats, score: Floats, codes: Ints, groups: float
) -> tuple[float, float, float]:
    expected = float(score.sum())
    if expected <= 0:
        return float("nan"), float("nan"), float("nan")
    value = float(y.sum()) / expected
    spread = spread_of_sums(np.bincount(codes, y - value * score) / expected)
    limits = log_limits(value, spread, groups)
    return value, limits.low, limits.high


def _logistic(x: Floats, offset: Floats, y: Floats, codes: Ints) -> list[tuple[float, Spread]]:
    """Each coefficient and its spread between groups; NaN where classes separate."""
    beta = np.zeros(x.shape[1])
    unknown = [(float("nan"), Spread(float("nan"), 1.0))] * len(beta)
    for _ in range(50):
        p = expit(x @ beta + offset)
        information = (x * (p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(information) > 1e12:
            return unknown
        step = np.linalg.solve(information, x.T @ (y - p))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    else:
        return unknown
    p = expit(x @ beta + offset)
    scores = np.stack([np.bincount(codes, x[:, j] * (y - p)) for j in range(len(beta))], axis=1)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    influence = scores @ bread
    return [(float(b), spread_of_sums(v)) for b, v in zip(beta, influence.T, strict=True)]
