"""Trainings that were repeated over folds and seeds: mean, spread, every run, and fair tests."""

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


def compare_unpaired(
    first: Sequence[float], second: Sequence[float], *, test_to_train: tuple[float, float]
) -> RepeatedDifference:
    """Two ways of training over different splits or data: nothing pairs their runs.

    Each mean has the variance of the corrected resampled t, the two are added, and the degrees
    of freedom are Welch's. `n` is the smaller number of runs. Without any variation the interval
    has no width and says nothing. Raises `BadInput` for fewer than two runs of either.

    >>> found = compare_unpaired([0.9, 0.8], [0.5, 0.4], test_to_train=(0.0, 0.0))
    >>> round(found.mean, 3), round(found.high - found.mean, 3)  # Welch: t(2) * sqrt(0.005)
    (0.4, 0.304)
    """
    if min(len(first), len(second)) < 2:
        raise BadInput("at least two runs of either are needed")
    both = [np.asarray(values, np.float64) for values in (first, second)]
    shares = [(1 / len(v) + r) * v.var(ddof=1) for v, r in zip(both, test_to_train, strict=True)]
    mean, variance = float(both[0].mean() - both[1].mean()), float(sum(shares))
    n, ratio = min(map(len, both)), max(test_to_train)
    method = "unpaired: corrected resampled t of each, Welch's degrees of freedom"
    if variance < 1e-30:
        p = 1.0 if abs(mean) < 1e-15 else 0.0
        return RepeatedDifference(mean, mean, mean, p, n, ratio, method)
    df = variance**2 / sum(s**2 / (len(v) - 1) for s, v in zip(shares, both, strict=True))
    half = float(stats.t.ppf(0.975, df)) * math.sqrt(variance)
    p = float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), df))
    return RepeatedDifference(mean, mean - half, mean + half, p, n, ratio, method)


@dataclass(frozen=True)
class SpreadRatio:
    """The first's standard deviation over the second's, with its 95 % interval."""

    value: float
    low: float
    high: float
    method: str


def compare_spreads(
    first: Sequence[float], second: Sequence[float], *, paired: bool
) -> SpreadRatio | None:
    """Ratio of two standard deviations over runs; None for fewer than 3 runs or without any.

    Paired runs: the interval of Pitman and Morgan, which allows for their correlation; else that
    of F. Both take runs for draws from a normal distribution; runs whose training parts overlap
    are less free than that, so the interval is rather too short than too long.

    >>> found = compare_spreads([1.0, 2.0, 3.0], [2.0, 6.0, 4.0], paired=False)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)  # F(2, 2): 1/39 to 39
    (0.5, 0.08, 3.122)
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(a), len(b)) < 3 or min(a.std(), b.std()) < 1e-15:
        return None
    w = float(a.var(ddof=1) / b.var(ddof=1))
    if not paired:
        low, high = (float(stats.f.ppf(q, len(a) - 1, len(b) - 1)) for q in (0.025, 0.975))
        return SpreadRatio(math.sqrt(w), math.sqrt(w / high), math.sqrt(w / low), "F, unpaired")
    n, r = len(a), float(np.corrcoef(a, b)[0, 1])
    k = 1 + 2 * (1 - r**2) * float(stats.t.ppf(0.975, n - 2)) ** 2 / (n - 2)
    wide = k + math.sqrt(k**2 - 1)
    return SpreadRatio(math.sqrt(w), math.sqrt(w / wide), math.sqrt(w * wide), "Pitman-Morgan")
