"""The metrics that models can be compared by: measured once, resampled, and tested in pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.curves import counts_by_threshold
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.headline import MALIGNANT, headline_metric
from lesionlab.evaluation.intervals import (
    MOST_UNDEFINED,
    Measure,
    correlations,
    harmonic,
    mean_limits,
    t_quantile,
)
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS
from lesionlab.evaluation.paired import (
    auc_contributions,
    delong_difference,
    mcnemar,
    midranks,
    permutation_test,
    swap_test,
)
from lesionlab.evaluation.predictions import Predictions
from lesionlab.progress import SILENT, Progress

Kind = Literal["share", "recall", "area", "loss"]
# name -> (kind, the statistic, whose score, whether higher is better)
PRIMARIES: dict[str, tuple[Kind, str, str, bool]] = {
    "accuracy": ("share", "accuracy", "classes", True),
    "balanced_accuracy": ("recall", "sensitivity", "classes", True),
    "roc_auc": ("area", "roc_auc", "classes", True),
    "average_precision": ("area", "average_precision", "classes", True),
    "nll": ("loss", "nll", "classes", False),
    "brier": ("loss", "brier", "classes", False),
    "malignant_roc_auc": ("area", "roc_auc", MALIGNANT, True),
    "malignant_average_precision": ("area", "average_precision", MALIGNANT, True),
    "malignant_partial_auc_80": ("area", "partial_auc_80", MALIGNANT, True),
}


@dataclass(frozen=True)
class Primary:
    """A metric to compare by. `scores` names the rankings whose areas are averaged."""

    name: str
    kind: Kind
    statistic: str
    scores: tuple[str, ...]
    higher_is_better: bool

    @property
    def needed(self) -> int:
        """The fewest groups for an interval, by the coverage simulation."""
        if self.kind == "area" and len(self.scores) == 1:
            return RANKING_METRICS[self.statistic].minimum
        return METRICS[self.name].minimum

    def parts(self, c: Cases) -> list[tuple[str, int | None, float]]:
        """The statistics whose mean the metric is: key, column, and the groups behind each."""
        if self.kind == "recall":
            return [("sensitivity", int(k), float(c.class_groups[k])) for k in _present(c)]
        if self.kind == "area":
            found = [n for n in self.scores if n in c.scores]
            return [(f"{self.statistic}:{n}", None, float(c.scarcer_groups(n))) for n in found]
        if self.kind == "loss":
            return [(self.statistic, None, harmonic(c.class_groups[c.present]))]
        return [(self.statistic, None, float(c.n_groups))]

    def measure(self, m: Measured) -> Measure:
        """The metric of one model, as `evaluate` gives it."""
        if self.kind == "area" and len(self.scores) == 1:
            return m.ranked(self.statistic, self.scores[0])
        return headline_metric(m, METRICS[self.name])


def _present(c: Cases) -> npt.NDArray[np.int64]:
    return np.flatnonzero(c.present)


def primary_of(name: str, classes: tuple[str, ...], malignant: tuple[str, ...]) -> Primary:
    """The metric by its name; `BadInput` where it is none, or lacks its malignant classes.

    >>> primary_of("roc_auc", ("nv", "mel"), ("mel",)).scores
    ('mel',)
    """
    if name not in PRIMARIES:
        raise BadInput(f"no primary metric '{name}'", remedy=nearest(name, PRIMARIES))
    unknown = [c for c in malignant if c not in classes]
    if unknown:
        raise BadInput(
            f"malignant class '{unknown[0]}' is not predicted", remedy=nearest(unknown[0], classes)
        )
    kind, statistic, whose, rises = PRIMARIES[name]
    if whose == MALIGNANT and not malignant:
        raise BadInput(f"{name} needs to know which classes are malignant", remedy="name them")
    scores = (MALIGNANT,) if whose == MALIGNANT else classes
    if whose != MALIGNANT and len(classes) == 2:
        scores = malignant if len(malignant) == 1 else classes[1:]
    return Primary(name, kind, statistic, scores if kind == "area" else (), rises)


def measured(
    data: Predictions,
    metric: Primary,
    malignant: tuple[str, ...],
    *,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Measured:
    """Point estimates and replicates of what the metric needs, from labelled predictions.

    The same groups are drawn for every model with these images and this seed.
    """
    cases = cases_of(data, malignant, None)
    wanted = {n: s for n, s in cases.scores.items() if n in metric.scores}
    full = frozenset(wanted) if metric.statistic == "partial_auc_80" else frozenset()
    cases = replace(cases, scores=wanted, full=full)
    return measure_cases(cases, resamples=resamples, seed=seed, bands=False, progress=progress)


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
        size = np.bincount(a.y_true)[a.y_true] * len(_present(a))
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
