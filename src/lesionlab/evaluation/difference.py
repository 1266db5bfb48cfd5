"""The paired difference of two models in one metric: its interval, and its test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.curves import counts_by_threshold
from lesionlab.evaluation.intervals import (
    MOST_UNDEFINED,
    ClusteredProportion,
    enough,
    too_few,
)
from lesionlab.evaluation.limits import (
    LEVEL,
    Limits,
    Spread,
    correlations,
    difference_limits,
    mean_limits,
    not_narrower,
    spread_of_replicates,
    wilson,
)
from lesionlab.evaluation.measured import Component, Measured
from lesionlab.evaluation.metric_table import METRICS
from lesionlab.evaluation.paired import (
    auc_contributions,
    delong,
    delong_difference,
    mcnemar,
    midranks,
    permutation_test,
    swap_test,
)
from lesionlab.evaluation.primary import Primary, present_classes

NOT_SAID = "too few to say: undefined in many resamples"


@dataclass(frozen=True)
class PairedComponent:
    """One number of both models, how their estimates go together, and their difference's spread."""

    first: Component
    second: Component
    correlation: float
    spread: Spread

    @property
    def value(self) -> float:
        """First minus second."""
        return self.first.value - self.second.value

    @cached_property
    def drawn(self) -> Floats:
        """`(B,)` replicates of the difference."""
        return drawn_difference(self.first, self.second)

    @property
    def discordant(self) -> bool:
        """Whether any resample tells the models apart."""
        return bool(self.value != 0 or (np.nan_to_num(self.drawn) != 0).any())

    def limits(self, level: float) -> Limits:
        """From both models' own limits, and not narrower than t; at least what was not seen."""
        first, second = self.first, self.second
        if not self.discordant and first.scale == "logit" and first.share is None:
            return self._unseen(level)
        both = (first.value, second.value)
        found = difference_limits(both, first.limits(level), second.limits(level), self.correlation)
        return not_narrower(found, self.value, self.spread, first.groups, level)

    def _unseen(self, level: float) -> Limits:
        """No case tells the models apart: what share of the scarcer side may still do so?

        As many cases as Wilson's interval of 0 out of `groups` allows, each lost entirely.
        """
        _, share = wilson(0.0, self.first.groups, level)
        low, high = self.first.bounds
        return Limits(-share * (high - low), share * (high - low), "Wilson of unseen differences")


@dataclass(frozen=True)
class Difference:
    """First minus second; `limits` gives the interval at any level.

    The metric is the mean of its `components`. `fewest` are the effective groups behind it,
    `needed` those that an interval needs.
    """

    n: int
    fewest: float
    needed: int
    components: tuple[PairedComponent, ...]

    @property
    def value(self) -> float:
        """First minus second."""
        return float(np.mean([part.value for part in self.components]))

    @property
    def discordant(self) -> bool:
        """Whether any resample tells the models apart."""
        return any(part.discordant for part in self.components)

    def limits(self, level: float = LEVEL) -> Limits:
        """The interval; NaN, and why, where too few groups or resamples say nothing."""
        drawn, defined = len(self.components[0].drawn), self._defined
        if len(defined) < max(3, (1 - MOST_UNDEFINED) * drawn):
            return Limits(float("nan"), float("nan"), NOT_SAID)
        if not enough(self.fewest, self.needed):
            why = too_few(self.value, self.n, self.fewest, self.needed).method
            return Limits(float("nan"), float("nan"), why)
        each = [p.limits(level) for p in self.components]
        if len(each) == 1:
            return each[0]
        values, lows, highs = (
            np.array(v, np.float64)
            for v in (
                [p.value for p in self.components], [e.low for e in each], [e.high for e in each]
            )
        )  # fmt: skip
        return mean_limits(values, lows, highs, self._correlations)

    @cached_property
    def _defined(self) -> Floats:
        """`(B, K)` replicates in which every part is defined."""
        drawn = np.stack([p.drawn for p in self.components], axis=1)
        return np.asarray(drawn[~np.isnan(drawn).any(axis=1)])

    @cached_property
    def _correlations(self) -> Floats:
        return correlations(self._defined)


def difference_of(metric: Primary, a: Measured, b: Measured) -> Difference:
    """The paired difference of a metric, from the intervals of both models and their correlation.

    `a` and `b` hold the same cases and the same draws. Raises `BadInput` where the metric is
    undefined in them.
    """
    pairs = zip(metric.components(a), metric.components(b), strict=True)
    parts = tuple(_paired(metric, a, b, x, y) for x, y in pairs)
    if not parts:
        raise BadInput(f"{metric.name} is undefined: only one kind of case occurs")
    return Difference(len(a.cases.y_true), metric.groups(a), metric.needed(a.cases), parts)


def _paired(
    metric: Primary, a: Measured, b: Measured, x: Component, y: Component
) -> PairedComponent:
    """DeLong's correlation and spread where they hold, else those of the replicates."""
    if delong_applies(metric, a.cases):
        (positive, first), (_, second) = (m.cases.scores[metric.scores[0]] for m in (a, b))
        both = delong(positive, np.stack([first, second]))
        return PairedComponent(x, y, both.correlation(), both.of_difference)
    r = float(correlations(np.stack([x.drawn, y.drawn], axis=1))[0, 1])
    found = PairedComponent(x, y, r, spread_of_replicates(drawn_difference(x, y)))
    if x.share is not None:
        return replace(found, correlation=min(r, _highest_correlation(x, y, x.share)))
    if x.scale == "log" and not found.discordant:  # the same correction, at its widest
        return replace(found, correlation=min(r, 1 - 2 / max(x.groups, 2.0)))
    return found


def drawn_difference(x: Component, y: Component) -> Floats:
    """`(B,)`: one number's replicates less the other's; both come from the same draws."""
    return np.asarray(x.drawn - y.drawn)


def _highest_correlation(x: Component, y: Component, share: ClusteredProportion) -> float:
    """Of two proportions: as if one more case had told them apart.

    Newcombe's continuity correction (1998, method 10): without it the interval of models that
    decide every case alike would have no width.
    """
    mean = (x.value + y.value) / 2
    if not 0 < mean < 1:
        return 0.0
    return max(1 - 1 / (2 * max(share.effective_n, 1.0) * float(mean * (1 - mean))), 0.0)


def delong_applies(metric: Primary, c: Cases) -> bool:
    """AUC of one score, each group one case, at least two on each side."""
    if metric.statistic != "roc_auc" or not c.independent or len(metric.scores) != 1:
        return False
    positive = c.scores[metric.scores[0]][0]
    return bool(min(positive.sum(), (~positive).sum()) >= 2)


def difference_test(metric: Primary, a: Cases, b: Cases, seed: int) -> tuple[float, str]:
    """The two-sided p-value of no difference, and the name of the test.

    DeLong's (with the groups that an interval needs) or McNemar's where each group is one case,
    else whole groups swap the models.
    """
    if delong_applies(metric, a) and enough(a.scarcer_groups(metric.scores[0]), metric.needed(a)):
        (positive, x), (_, y) = a.scores[metric.scores[0]], b.scores[metric.scores[0]]
        return delong_difference(positive, x, y)[2], "DeLong"
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
    return permutation_test(_gains(metric, a, b), a.codes, seed=seed), whole


def _gains(metric: Primary, a: Cases, b: Cases) -> Floats:
    """`(N,)`: what each case adds to the difference, for metrics that are sums over cases."""
    gain = (a.y_pred == a.y_true).astype(np.float64) - (b.y_pred == b.y_true)
    if metric.kind == "loss":
        loss = METRICS[metric.statistic].per_case
        assert loss is not None
        gain = loss(a) - loss(b)
    size = np.full(len(gain), len(gain))
    if metric.kind == "recall":
        size = np.bincount(a.y_true)[a.y_true] * len(present_classes(a))
    return np.asarray(gain / size)


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


def simultaneous(level: float, comparisons: int) -> float:
    """The level of each of several intervals that together cover at `level` (Bonferroni).

    >>> round(simultaneous(0.95, 10), 4)
    0.995
    """
    return 1 - (1 - level) / max(comparisons, 1)


def mcnemar_of(a: Cases, b: Cases) -> tuple[int, int, float] | None:
    """McNemar of the two decisions, where each group is one case."""
    if not a.independent:
        return None
    return mcnemar(a.y_pred == a.y_true, b.y_pred == b.y_true)
