"""Trainings that were repeated over folds and seeds: mean, spread, every run, and a fair test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lesionlab.errors import BadInput


@dataclass(frozen=True)
class Repeats:
    """One metric over repeated trainings; `sd` is None for a single run."""

    metric: str
    runs: Mapping[str, float]
    mean: float
    sd: float | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "metric": self.metric,
            "n": len(self.runs),
            "mean": self.mean,
            "sd": self.sd,
            "runs": dict(self.runs),
        }


@dataclass(frozen=True)
class RepeatedDifference:
    """First minus second over the same splits, by the corrected resampled t-test."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    test_to_train: float
    method: str = "corrected resampled t (Nadeau and Bengio 2003)"

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dict(vars(self))


def summarise(metric: str, runs: Mapping[str, float]) -> Repeats:
    """Mean and standard deviation (n - 1) over named runs; `BadInput` without a finite one.

    >>> summarise("roc_auc", {"fold0": 0.8, "fold1": 0.9}).sd.__round__(3)
    0.071
    """
    values = np.array(list(runs.values()), np.float64)
    if not len(values):
        raise BadInput("no run to summarise", where=metric)
    if not np.isfinite(values).all():
        name = list(runs)[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise BadInput(f"run '{name}' has no finite value", where=metric)
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return Repeats(metric, dict(runs), float(values.mean()), spread)


def compare_repeats(
    first: Sequence[float], second: Sequence[float], *, test_to_train: float
) -> RepeatedDifference:
    """Two ways of training over the same J splits (and seeds), paired by their order.

    `test_to_train` is the size of a fold's test part over its training part (1 / (k - 1) for k
    folds): training parts overlap, so the naive t-test is far too sure. With 0 (the same split
    and other seeds) it is the plain paired t-test, which speaks of the seeds only.
    Raises `BadInput` for unequal lengths or fewer than two runs.
    """
    if len(first) != len(second) or len(first) < 2:
        raise BadInput(
            f"{len(first)} and {len(second)} runs cannot be paired",
            remedy="repeat both over the same splits, at least twice",
        )
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n, mean = len(difference), float(difference.mean())
    error = math.sqrt((1 / n + test_to_train) * float(difference.var(ddof=1)))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    if error < 1e-15:
        p = 1.0 if abs(mean) < 1e-15 else 0.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return RepeatedDifference(mean, mean - half, mean + half, p, n, test_to_train)
