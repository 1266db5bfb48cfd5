"""Does a predicted probability come true? Bins with intervals, and one-number summaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.intervals import Measure, proportion_measure
from lesionlab.evaluation.predictions import Floats, Ints

BINS = 15
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
