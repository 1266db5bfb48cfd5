"""The paired difference of two models in one metric: its interval and its test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.curves import counts_by_threshold
from lesionlab.evaluation.intervals import (
    MOST_UNDEFINED,
    correlations,
    mean_limits,
    t_quantile,
)
from lesionlab.evaluation.measured import Measured
from lesionlab.evaluation.metric_table import METRICS
from lesionlab.evaluation.paired import (
    auc_contributions,
    delong_difference,
    mcnemar,
    midranks,
    permutation_test,
    swap_test,
)
from lesionlab.evaluation.primary import Primary, present_classes


@dataclass(frozen=True)
class Difference:
    """First minus second: value, 95 % limits (NaN: too few), p-value, and how both were made."""

    value: float
    low: float
    high: float
    n: int
    fewest: float
    interval: str
    p_value: float
    test: str


def difference_of(metric: Primary, a: Measured, b: Measured, *, seed: int = 0) -> Difference:
    """The paired difference of a metric: DeLong where it holds, else resampled by groups."""
    c, parts = a.cases, metric.parts(a.cases)
    if not parts:
        raise BadInput(f"{metric.name} is undefined: only one kind of case occurs")
    n, fewest = len(c.y_true), min(groups for _, _, groups in parts)
    if _delong_applies(metric, c):
        (positive, x), (_, y) = c.scores[metric.scores[0]], b.cases.scores[metric.scores[0]]
        value, error, p = delong_difference(positive, x, y)
        half = float(stats.norm.ppf(0.975)) * error
        return Difference(value, value - half, value + half, n, fewest, "DeLong", p, "DeLong")
    values = np.array([_at(a.point, k, i) - _at(b.point, k, i) for k, i, _ in parts], np.float64)
    drawn = np.stack([_at(a.replicates, k, i) - _at(b.replicates, k, i) for k, i, _ in parts], 1)
    low, high = _limits(values, drawn, [groups for _, _, groups in parts])
    how = f"paired clustered bootstrap, t, {len(drawn)} resamples of {c.n_groups} groups"
    p, test = _test(metric, c, b.cases, seed)
    return Difference(float(values.mean()), low, high, n, fewest, how, p, test)


def _at(found: dict[str, Floats], key: str, column: int | None) -> Floats:
    return found[key] if column is None else found[key][..., column]


def _limits(values: Floats, drawn: Floats, groups: list[float]) -> tuple[float, float]:
    """t limits of each part's difference, joined over the parts as for a mean over classes."""
    defined = drawn[~np.isnan(drawn).any(axis=1)]
    if len(defined) < max(3, (1 - MOST_UNDEFINED) * len(drawn)):
        return float("nan"), float("nan")
    half = np.array([t_quantile(g - 1) for g in groups]) * defined.std(axis=0, ddof=1)
    limits = mean_limits(values, values - half, values + half, correlations(defined))
    return limits.low, limits.high


def _delong_applies(metric: Primary, c: Cases) -> bool:
    """AUC of one score, each group one case, at least two on each side."""
    if metric.statistic != "roc_auc" or not c.independent or len(metric.scores) != 1:
        return False
    positive = c.scores[metric.scores[0]][0]
    return bool(min(positive.sum(), (~positive).sum()) >= 2)


def _test(metric: Primary, a: Cases, b: Cases, seed: int) -> tuple[float, str]:
    right_a, right_b = a.y_pred == a.y_true, b.y_pred == b.y_true
    if metric.kind == "share" and a.independent:
        return mcnemar(right_a, right_b)[2], "McNemar, exact"
    whole = f"permutation of {a.n_groups} groups"
    if metric.kind == "area" and metric.statistic != "roc_auc":
        return _swapped(metric, a, b, seed), whole
    if metric.kind == "area":
        names = [n for n in metric.scores if n in a.scores]
        each = [auc_contributions(*a.scores[n], b.scores[n][1]) for n in names]
        return permutation_test(np.mean(each, axis=0), a.codes, seed=seed), whole
    gain = right_a.astype(np.float64) - right_b
    if metric.kind == "loss":
        loss = METRICS[metric.statistic].per_case
        assert loss is not None
        gain = loss(a) - loss(b)
    size = np.full(len(gain), len(gain))
    if metric.kind == "recall":
        size = np.bincount(a.y_true)[a.y_true] * len(present_classes(a))
    return permutation_test(gain / size, a.codes, seed=seed), whole


def _swapped(metric: Primary, a: Cases, b: Cases, seed: int) -> float:
    """Average precision and partial AUC are not linear in the swaps: computed anew for each."""
    area = _precision if metric.statistic == "average_precision" else _partial
    names = [n for n in metric.scores if n in a.scores]
    truths = [a.scores[n][0] for n in names]
    first = np.stack([midranks(a.scores[n][1]) for n in names], axis=1)
    second = np.stack([midranks(b.scores[n][1]) for n in names], axis=1)

    def difference(x: Floats, y: Floats) -> float:
        return sum(area(t, x[:, k]) - area(t, y[:, k]) for k, t in enumerate(truths)) / len(truths)

    return swap_test(difference, first, second, a.codes, seed=seed)


def _precision(positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Average precision of one score; as `metrics.average_precision`, for thousands of calls."""
    _, tp, fp = counts_by_threshold(positive, score)
    return float((np.diff(tp, prepend=0.0) * tp / (tp + fp)).sum() / tp[-1])


def _partial(positive: npt.NDArray[np.bool_], score: Floats, from_tpr: float = 0.8) -> float:
    """Area above TPR 0.8; as `metrics.partial_auc`, for thousands of calls."""
    _, tp, fp = counts_by_threshold(positive, score)
    tpr, fpr = np.append(0.0, tp / tp[-1]), np.append(0.0, fp / fp[-1])
    at = int(tpr.searchsorted(from_tpr))
    low = tpr[at - 1]
    start = fpr[at - 1] + (fpr[at] - fpr[at - 1]) * (from_tpr - low) / (tpr[at] - low)
    return float(np.trapezoid(np.append(1 - start, 1 - fpr[at:]), np.append(from_tpr, tpr[at:])))


def mcnemar_of(a: Cases, b: Cases) -> tuple[int, int, float] | None:
    """McNemar of the two decisions, where each group is one case."""
    if not a.independent:
        return None
    return mcnemar(a.y_pred == a.y_true, b.y_pred == b.y_true)
