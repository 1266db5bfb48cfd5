"""From point estimates and replicates to measures: which interval each metric gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lesionlab.array_types import Bools, Floats
from lesionlab.evaluation.bootstrap import bootstrap
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.hand_till import pairwise_auc
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    MOST_UNDEFINED,
    ClusteredProportion,
    Measure,
    clustered_proportion,
    enough,
    measure,
    proportion_measure,
    too_few,
)
from lesionlab.evaluation.limits import (
    LEVEL,
    Limits,
    Scale,
    Spread,
    correlations,
    harmonic,
    log_limits,
    logit_limits,
    mean_limits,
    share_limits,
    spread_of_replicates,
    wilson,
)
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS, Metric, RankingMetric
from lesionlab.evaluation.paired import delong
from lesionlab.evaluation.statistics import Statistics
from lesionlab.progress import SILENT, Progress

NOTHING_KNOWN = Spread(0.0, 1.0)


def measure_cases(
    cases: Cases,
    *,
    resamples: int,
    seed: int,
    bands: bool = True,
    progress: Progress = SILENT,
) -> Measured:
    """The point estimates and replicates of all statistics; `bands`: of the curves too."""
    statistics = Statistics(cases, bands=bands)
    point = {k: v[0] for k, v in statistics(np.ones((1, cases.n_groups))).items()}
    replicates = bootstrap(
        statistics,
        cases.n_groups,
        resamples=resamples,
        seed=seed,
        cells_per_replicate=len(cases.y_true),
        progress=progress,
    )
    return Measured(cases, point, replicates)


@dataclass(frozen=True)
class Component:
    """A number that is one metric, or one of several whose mean is the metric.

    `groups` are the effective groups behind it, `drawn (B,)` its replicates. A proportion has
    its `share`, every other number the `spread` of its estimate.
    """

    key: str
    value: float
    groups: float
    drawn: Floats
    scale: Scale = "logit"
    bounds: tuple[float, float] = (0.0, 1.0)
    spread: Spread = NOTHING_KNOWN
    share: ClusteredProportion | None = None

    def limits(self, level: float = LEVEL) -> Limits:
        """The interval of this number alone."""
        if self.share is not None:
            low, high = wilson(self.value, self.share.effective_n, level, self.share.df)
            return Limits(low, high, "Wilson")
        if self.scale == "log":
            return log_limits(self.value, self.spread, self.groups, level)
        if self.scale == "share":
            return share_limits(self.value, self.spread, self.groups, level)
        return logit_limits(self.value, self.spread, self.groups, self.bounds, level)


@dataclass(frozen=True)
class Measured:
    """Point estimates and replicates of all statistics."""

    cases: Cases
    point: dict[str, Floats]
    replicates: dict[str, Floats]

    @cached_property
    def undefined(self) -> dict[str, int]:
        """In how many replicates each metric is undefined; those that always are defined left out.

        A metric of a class is `<metric>:<class>`.
        """
        drawn = {k: v for k, v in self.replicates.items() if v.ndim == 1}
        if self.cases.y_pred_corrected is None:
            drawn = {k: v for k, v in drawn.items() if not _corrected(k)}
        for k in np.flatnonzero(self.cases.present):
            drawn[f"f1:{self.cases.classes[k]}"] = self.replicates["f1"][:, k]
        counts = {key: int(np.isnan(values).sum()) for key, values in drawn.items()}
        return {key: count for key, count in counts.items() if count}

    def share(self, part: Bools | Floats, whole: Bools) -> Measure:
        """The share of the cases `whole` that are also in `part`, or the mean of shares of each."""
        return proportion_measure(part, whole, self.cases.codes)

    def predictive(self, part: Bools, whole: Bools, is_class: Bools) -> Measure:
        """A predictive value: it hangs on the scarcer of the class's and the other groups too.

        Simulated with 12 effective positive groups of very unequal size, the interval of an NPV
        that only counted the groups called negative covered 88 % (docs/coverage.md).
        """
        found = self.share(part, whole)
        fewest = min(self.cases.worth(is_class), self.cases.worth(~is_class))
        needed = MINIMUM_GROUPS["proportion"]
        if found.value is None or enough(fewest, needed):
            return found
        return too_few(found.value, found.n, fewest, needed)

    def ranked(self, metric: str, name: str) -> Measure:
        """A ranking metric of one score: logit t, with DeLong's variance where it holds."""
        if name not in self.cases.scores:
            return self._absent()
        row = RANKING_METRICS[metric]
        return self._bounded(self.ranked_component(row, name), row.needed(self.cases.mixed))

    def f1(self, k: int) -> Measure:
        """F1 of class k."""
        if not self.cases.class_groups[k]:
            return self._absent()
        return self._bounded(self._class_component("f1", k), MINIMUM_GROUPS["f1"])

    def bounded(self, row: Metric) -> Measure:
        """A number of all classes at once, as MCC: logit t."""
        return self._bounded(self.whole_component(row), row.minimum)

    def pairwise(self, row: Metric) -> Measure:
        """Hand and Till's AUC: logit t, with the variance between groups and no resampling."""
        c = self.cases
        found = pairwise_auc(c.y_true, c.y_prob, c.codes)
        if np.isnan(found.value):
            return self._absent()
        limits = logit_limits(found.value, found.spread(), c.scarcest, row.bounds)
        if c.scarcest < row.needed(c):
            return too_few(found.value, len(c.y_true), c.scarcest, row.needed(c))
        method = f"{limits.method}, DeLong over pairs of classes, {c.n_groups} groups"
        return measure(found.value, limits.low, limits.high, len(c.y_true), method)

    def loss(self, row: Metric) -> Measure:
        """NLL or Brier score: log t."""
        part = self.whole_component(row)
        return self._stated(row.name, part.value, part.limits(), part.groups, row.minimum)

    def mean(self, row: Metric) -> Measure:
        """A mean over classes: MOVER over the intervals of the classes."""
        parts = self.class_components(row)
        if not parts:
            return self._absent()
        limits = [p.limits() for p in parts]
        values = np.array([p.value for p in parts])
        lows, highs = np.array([v.low for v in limits]), np.array([v.high for v in limits])
        drawn = np.stack([p.drawn for p in parts], axis=1)
        found = mean_limits(values, lows, highs, correlations(drawn))
        needed = row.needed(self.cases)
        return self._stated(row.name, float(values.mean()), found, self.cases.scarcest, needed)

    def whole_component(self, row: Metric) -> Component:
        """A metric of all cases at once: a proportion, a loss, or a number such as MCC."""
        if row.family == "proportion":
            assert row.per_case is not None
            return self._share_component(
                row.name, None, row.per_case(self.cases), np.ones(len(self.cases.y_true), bool)
            )
        groups = harmonic(self.cases.class_groups[self.cases.present])
        scale: Scale = "log" if row.family == "log t" else "logit"
        return self._replicated(row.name, None, groups, scale, row.bounds)

    def class_components(self, row: Metric) -> list[Component]:
        """The numbers of the single classes whose mean is the metric."""
        c = self.cases
        if row.family == "MOVER over rankings":
            names = [n for n in c.classes if n in c.scores]
            return [self.ranked_component(RANKING_METRICS[row.name], n) for n in names]
        present = [int(k) for k in np.flatnonzero(c.present)]
        if row.family == "MOVER over F1":
            return [self._class_component("f1", k) for k in present]
        decision, key = c.y_pred, "sensitivity"
        if row.decision == "prior_corrected":
            assert c.y_pred_corrected is not None
            decision, key = c.y_pred_corrected, "sensitivity_prior_corrected"
        return [self._share_component(key, k, decision == k, c.y_true == k) for k in present]

    def ranked_component(self, row: RankingMetric, name: str) -> Component:
        """A ranking metric of one score; of DeLong's variance for an AUC of independent cases."""
        part = self._replicated(
            f"{row.name}:{name}", None, self.cases.scarcer_groups(name), row.scale, row.bounds
        )
        if row.name != "roc_auc" or not self.cases.independent:
            return part
        positive, score = self.cases.scores[name]
        if min(positive.sum(), (~positive).sum()) < 2:
            return part
        return replace(part, spread=delong(positive, score[None]).spread())

    def _class_component(self, key: str, k: int) -> Component:
        return self._replicated(key, k, float(self.cases.class_groups[k]), "logit", (0.0, 1.0))

    def _share_component(
        self, key: str, k: int | None, part: Bools | Floats, whole: Bools
    ) -> Component:
        inside = whole.astype(np.float64)
        share = clustered_proportion(part * inside, inside, self.cases.codes)
        drawn = self.replicates[key] if k is None else self.replicates[key][:, k]
        return Component(key, share.value, share.effective_groups, drawn, share=share)

    def _replicated(
        self, key: str, k: int | None, groups: float, scale: Scale, bounds: tuple[float, float]
    ) -> Component:
        value, drawn = self.point[key], self.replicates[key]
        if k is not None:
            value, drawn = value[k], drawn[:, k]
        spread = spread_of_replicates(drawn)
        return Component(
            key, float(value), groups, drawn, scale=scale, bounds=bounds, spread=spread
        )

    def _bounded(self, part: Component, needed: int) -> Measure:
        if np.isnan(part.value):
            return Measure(None, None, None, len(self.cases.y_true), "undefined")
        return self._stated(part.key, part.value, part.limits(), part.groups, needed)

    def _stated(
        self, key: str, value: float, limits: Limits, fewest: float, needed: int
    ) -> Measure:
        n = len(self.cases.y_true)
        if not enough(fewest, needed):
            return too_few(value, n, fewest, needed)
        method = f"{limits.method}, {self._source(key)}, {self.cases.n_groups} groups"
        if self.undefined.get(key, 0) > MOST_UNDEFINED * self._resamples:
            nan = float("nan")
            return measure(value, nan, nan, n, "too few to say: undefined in many resamples")
        low, high = min(limits.low, value), max(limits.high, value)
        return measure(value, low, high, n, method)

    def _source(self, key: str) -> str:
        if key.startswith("roc_auc") and self.cases.independent:
            return "DeLong"
        return f"{self._resamples} resamples"

    @property
    def _resamples(self) -> int:
        return len(next(iter(self.replicates.values())))

    def _absent(self) -> Measure:
        method = "undefined: the class is absent, or the only one"
        return Measure(None, None, None, len(self.cases.y_true), method)


def _corrected(name: str) -> bool:
    return name in METRICS and METRICS[name].decision == "prior_corrected"
