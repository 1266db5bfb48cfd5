"""The metrics that models can be compared by: value, replicates, and the paired test of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation import metrics, ranking
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.curves import counts_by_threshold
from lesionlab.evaluation.intervals import FEWEST, Measure, measure, proportion_measure, too_few
from lesionlab.evaluation.paired import (
    auc_contributions,
    delong_difference,
    mcnemar,
    midranks,
    permutation_test,
    swap_test,
)
from lesionlab.evaluation.predictions import Floats, Ints, Predictions
from lesionlab.evaluation.resampled import harmonic, log_limits, logit_limits, t_quantile

Kind = Literal["share", "recall", "area", "loss"]
# name -> (kind, the ranking statistic or the loss, whose score, whether higher is better)
PRIMARIES: dict[str, tuple[Kind, str, str, bool]] = {
    "accuracy": ("share", "", "classes", True),
    "balanced_accuracy": ("recall", "", "classes", True),
    "roc_auc": ("area", "roc_auc", "classes", True),
    "average_precision": ("area", "average_precision", "classes", True),
    "nll": ("loss", "nll", "classes", False),
    "brier": ("loss", "brier", "classes", False),
    "malignant_roc_auc": ("area", "roc_auc", "malignant", True),
    "malignant_average_precision": ("area", "average_precision", "malignant", True),
    "malignant_partial_auc_80": ("area", "partial_auc", "malignant", True),
}
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Answers:
    """One model's answers to N labelled cases in G groups.

    `scores` are the rankings as (positive (N,), score (N,)): one a class that occurs (for two
    classes the positive one), and the malignant sum.
    """

    y_true: Ints
    y_prob: Floats
    codes: Ints
    n_groups: int
    areas: tuple[tuple[npt.NDArray[np.bool_], Floats], ...]
    malignant: tuple[npt.NDArray[np.bool_], Floats] | None

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """(N,): whether the highest probability names the truth."""
        return np.asarray(metrics.decide(self.y_prob) == self.y_true)

    @cached_property
    def class_groups(self) -> Ints:
        """Groups with a case of each class that occurs."""
        present = np.unique(self.y_true)
        return np.array([len(np.unique(self.codes[self.y_true == k])) for k in present])

    @property
    def independent(self) -> bool:
        """Whether each group is one case."""
        return self.n_groups == len(self.codes)


@dataclass(frozen=True)
class Primary:
    """A metric to compare by."""

    name: str
    kind: Kind
    statistic: str
    of_malignant: bool
    higher_is_better: bool

    @property
    def needed(self) -> int:
        """The fewest groups (`fewest`) for an interval, by the coverage simulation."""
        if self.kind == "area":
            several = {"roc_auc": "roc_auc", "average_precision": "average_precision"}
            return FEWEST[several.get(self.statistic, "partial_auc")]
        return FEWEST[{"share": "share", "recall": "mean_over_classes", "loss": "loss"}[self.kind]]

    def rankings(self, a: Answers) -> tuple[tuple[npt.NDArray[np.bool_], Floats], ...]:
        """The scores whose areas are averaged."""
        if self.of_malignant:
            return () if a.malignant is None else (a.malignant,)
        return a.areas

    def fewest(self, a: Answers) -> float:
        """How many groups carry the metric: those of the scarcer side or class."""
        if self.kind == "share":
            return float(a.n_groups)
        if self.kind == "loss":
            return harmonic(a.class_groups)
        if self.kind == "recall":
            return float(a.class_groups.min())
        sides = [len(np.unique(a.codes[side])) for p, _ in self.rankings(a) for side in (p, ~p)]
        return float(min(sides))

    def measure(self, a: Answers, replicates: Mapping[str, Floats]) -> Measure:
        """The metric of one model with its interval."""
        everyone = np.ones(len(a.y_true), bool)
        if self.kind == "share":
            return proportion_measure(a.right, everyone, a.codes)
        value = float(statistics_of(self, a)(np.ones((1, a.n_groups)))[self.name][0])
        drawn, fewest = replicates[self.name], self.fewest(a)
        defined = drawn[~np.isnan(drawn)]
        if fewest < self.needed or len(defined) < (1 - MOST_UNDEFINED) * len(drawn):
            return too_few(value, len(a.y_true), fewest, self.needed)
        variance = float(defined.var(ddof=1))
        if self.kind == "loss":
            limits = log_limits(value, variance, fewest)
        else:
            top = 0.2 if self.statistic == "partial_auc" else 1.0
            limits = logit_limits(value, variance, fewest, (0.0, top))
        method = f"{limits.method}, {len(drawn)} resamples of {a.n_groups} groups"
        return measure(value, limits.low, limits.high, len(a.y_true), method)


def primary_of(name: str, classes: tuple[str, ...], malignant: tuple[str, ...]) -> Primary:
    """The metric by its name; `BadInput` where it is none, or lacks its malignant classes."""
    if name not in PRIMARIES:
        raise BadInput(f"no primary metric '{name}'", remedy=nearest(name, PRIMARIES))
    unknown = [c for c in malignant if c not in classes]
    if unknown:
        raise BadInput(
            f"malignant class '{unknown[0]}' is not predicted", remedy=nearest(unknown[0], classes)
        )
    kind, statistic, whose, rises = PRIMARIES[name]
    if whose == "malignant" and not malignant:
        raise BadInput(f"{name} needs to know which classes are malignant", remedy="name them")
    return Primary(name, kind, statistic, whose == "malignant", rises)


def answers_of(p: Predictions, malignant: tuple[str, ...]) -> Answers:
    """What a comparison needs of labelled predictions; raises `BadInput` for one class only."""
    codes, n_groups = group_codes(p.groups)
    present = np.unique(p.y_true)
    if len(present) < 2:
        raise BadInput("only one class occurs in the truth: nothing can be compared")
    ranked = [int(k) for k in present]
    if len(p.classes) == 2:
        ranked = [p.classes.index(malignant[0]) if len(malignant) == 1 else 1]
    summed = None
    if malignant:
        mask = np.isin(np.array(p.classes, dtype=object), list(malignant))
        is_malignant = mask[p.y_true]
        if is_malignant.any() and not is_malignant.all():
            summed = (is_malignant, p.y_prob[:, mask].sum(axis=1))
    areas = tuple((p.y_true == k, p.y_prob[:, k]) for k in ranked)
    return Answers(p.y_true, p.y_prob, codes, n_groups, areas, summed)


def statistics_of(metric: Primary, a: Answers) -> Callable[[Floats], dict[str, Floats]]:
    """A function of group counts (b, G) that returns the metric of each draw, (b,)."""
    if metric.kind == "area":
        return _areas(metric, a)
    return _means(metric, a)


def _areas(metric: Primary, a: Answers) -> Callable[[Floats], dict[str, Floats]]:
    rankings = metric.rankings(a)
    if not rankings:
        raise BadInput(f"{metric.name} is undefined: the malignant side, or the other, is empty")
    ranked = [ranking.rank(positive, score, a.codes) for positive, score in rankings]
    statistic = {
        "roc_auc": ranking.roc_auc,
        "average_precision": ranking.average_precision,
        "partial_auc": ranking.partial_auc,
    }[metric.statistic]

    def of(counts: Floats) -> dict[str, Floats]:
        columns = np.ascontiguousarray(counts.T)
        each = [statistic(ranking.ranked_counts(r, columns)) for r in ranked]
        return {metric.name: np.mean(each, axis=0)}

    return of


def _means(metric: Primary, a: Answers) -> Callable[[Floats], dict[str, Floats]]:
    """Shares, mean recalls and losses: sums over groups, so a matrix product a class."""
    values = values_of(metric, a)
    split = [a.y_true == k for k in np.unique(a.y_true)] if metric.kind == "recall" else [None]
    sums = []
    for rows in split:
        inside = np.ones(len(values)) if rows is None else rows.astype(np.float64)
        part = np.bincount(a.codes, inside * values, a.n_groups)
        sums.append((part, np.bincount(a.codes, inside, a.n_groups)))

    def of(counts: Floats) -> dict[str, Floats]:
        with np.errstate(invalid="ignore"):
            each = [(counts @ part) / (counts @ whole) for part, whole in sums]
        return {metric.name: np.mean(each, axis=0)}

    return of


def values_of(metric: Primary, a: Answers) -> Floats:
    """(N,): what each case adds to a mean: right or wrong, or its loss."""
    if metric.kind == "loss":
        losses = {"nll": metrics.nll_per_case, "brier": metrics.brier_per_case}
        return losses[metric.statistic](a.y_true, a.y_prob)
    return a.right.astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """First minus second: value, 95 % limits, p-value, and how both were made."""

    value: float
    low: float
    high: float
    n: int
    fewest: float
    interval: str
    p_value: float
    test: str


def difference_of(
    metric: Primary, a: Answers, b: Answers, drawn: Floats, *, seed: int = 0
) -> Difference:
    """The paired difference; `drawn (B,)` are the differences of the paired replicates."""
    n, fewest = len(a.y_true), metric.fewest(a)
    one = np.ones((1, a.n_groups))
    value = float(
        (statistics_of(metric, a)(one)[metric.name] - statistics_of(metric, b)(one)[metric.name])[0]
    )
    if _delong_applies(metric, a):
        (positive, x), (_, y) = metric.rankings(a)[0], metric.rankings(b)[0]
        value, error, p = delong_difference(positive, x, y)
        half = float(stats.norm.ppf(0.975)) * error
        return Difference(value, value - half, value + half, n, fewest, "DeLong", p, "DeLong")
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (1 - MOST_UNDEFINED) * len(drawn):
        fewest = 0.0
    error = float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")
    half = t_quantile(fewest - 1) * error
    how = f"paired clustered bootstrap, t, {len(drawn)} resamples of {a.n_groups} groups"
    p, test = _test(metric, a, b, seed)
    return Difference(value, value - half, value + half, n, fewest, how, p, test)


def _delong_applies(metric: Primary, a: Answers) -> bool:
    """AUC of one score, each group one case, at least two on each side."""
    if metric.statistic != "roc_auc" or not a.independent or len(metric.rankings(a)) != 1:
        return False
    positive = metric.rankings(a)[0][0]
    return bool(min(positive.sum(), (~positive).sum()) >= 2)


def _test(metric: Primary, a: Answers, b: Answers, seed: int) -> tuple[float, str]:
    if metric.kind == "share" and a.independent:
        return mcnemar(a.right, b.right)[2], "McNemar, exact"
    whole = f"permutation of {a.n_groups} groups"
    if metric.kind == "area":
        pairs = list(zip(metric.rankings(a), metric.rankings(b), strict=True))
        if metric.statistic == "roc_auc":
            each = [auc_contributions(positive, x, y) for (positive, x), (_, y) in pairs]
            return permutation_test(np.mean(each, axis=0), a.codes, seed=seed), whole
        return _swapped(metric, a, b, seed), whole
    values = values_of(metric, a) - values_of(metric, b)
    if metric.kind == "recall":
        size = np.bincount(a.y_true)[a.y_true]
        return permutation_test(values / (size * len(a.class_groups)), a.codes, seed=seed), whole
    return permutation_test(values / len(values), a.codes, seed=seed), whole


def _swapped(metric: Primary, a: Answers, b: Answers, seed: int) -> float:
    """Average precision and partial AUC are not linear in the swaps: computed anew for each."""
    area = _precision if metric.statistic == "average_precision" else _partial
    truths = [positive for positive, _ in metric.rankings(a)]
    first = np.stack([midranks(s) for _, s in metric.rankings(a)], axis=1)
    second = np.stack([midranks(s) for _, s in metric.rankings(b)], axis=1)

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


def mcnemar_of(a: Answers, b: Answers) -> tuple[int, int, float] | None:
    """McNemar of the two decisions, where each group is one case."""
    return mcnemar(a.right, b.right) if a.independent else None
