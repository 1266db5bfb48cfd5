"""From point estimates and replicates to measures: which interval each metric gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lesionlab.array_types import Bools, Floats
from lesionlab.evaluation.bootstrap import bootstrap
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    MOST_UNDEFINED,
    Limits,
    Measure,
    clustered_proportion,
    correlations,
    harmonic,
    log_limits,
    logit_limits,
    mean_limits,
    measure,
    proportion_measure,
    too_few,
    wilson,
)
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS, Metric
from lesionlab.evaluation.paired import delong
from lesionlab.evaluation.statistics import Statistics
from lesionlab.progress import SILENT, Progress


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

    def share(self, part: Bools, whole: Bools) -> Measure:
        """The share of the cases `whole` that are also in `part`."""
        return proportion_measure(part, whole, self.cases.codes)

    def predictive(self, part: Bools, whole: Bools, is_class: Bools) -> Measure:
        """A predictive value: it hangs on the scarcer of the class's and the other groups too.

        Simulated with 12 effective positive groups of very unequal size, the interval of an NPV
        that only counted the groups called negative covered 88 % (docs/coverage.md).
        """
        found = self.share(part, whole)
        fewest = min(self.cases.worth(is_class), self.cases.worth(~is_class))
        needed = MINIMUM_GROUPS["proportion"]
        if found.value is None or fewest >= needed - 1e-9:
            return found
        return too_few(found.value, found.n, fewest, needed)

    def ranked(self, metric: str, name: str) -> Measure:
        """A ranking metric of one score: logit t, with DeLong's variance where it holds."""
        if name not in self.cases.scores:
            return self._absent()
        row = RANKING_METRICS[metric]
        mixed = self.cases.mixed and row.minimum_mixed is not None
        needed = row.minimum_mixed if mixed else row.minimum
        scarcer = self.cases.scarcer_groups(name)
        return self._bounded(f"{metric}:{name}", scarcer, needed or 0, row.bounds)

    def f1(self, k: int) -> Measure:
        """F1 of class k."""
        if not self.cases.class_groups[k]:
            return self._absent()
        return self._bounded(
            "f1", float(self.cases.class_groups[k]), MINIMUM_GROUPS["f1"], column=k
        )

    def bounded(self, row: Metric) -> Measure:
        """A number of all classes at once, as MCC: logit t."""
        groups = self.cases.class_groups[self.cases.present]
        return self._bounded(row.name, harmonic(groups), row.minimum, row.bounds)

    def loss(self, row: Metric) -> Measure:
        """NLL or Brier score: log t."""
        value, variance = self._variance(row.name)
        groups = harmonic(self.cases.class_groups[self.cases.present])
        limits = log_limits(value, variance, groups)
        return self._stated(row.name, value, limits, groups, row.minimum)

    def mean_sensitivity(self, row: Metric) -> Measure:
        """Balanced accuracy: MOVER over the Wilson intervals of the classes' sensitivities."""
        c, decision, key = self.cases, self.cases.y_pred, "sensitivity"
        if row.decision == "prior_corrected":
            assert c.y_pred_corrected is not None
            decision, key = c.y_pred_corrected, "sensitivity_prior_corrected"
        parts = []
        for k in np.flatnonzero(c.present):
            whole = c.y_true == k
            part = (whole & (decision == k)).astype(np.float64)
            share = clustered_proportion(part, whole.astype(np.float64), c.codes)
            low, high = wilson(share.value, share.effective_n, df=share.df)
            parts.append((share.value, low, high))
        return self._mean(row, np.array(parts), self.replicates[key][:, c.present])

    def mean_f1(self, row: Metric) -> Measure:
        """Macro F1: the mean of F1 over the classes that occur in the labels.

        Its interval combines the logit intervals of the classes by MOVER (see `mean_limits`).
        """
        cases, class_limits = self.cases, []
        for k in np.flatnonzero(cases.present):
            value, variance = self._variance("f1", int(k))
            limits = logit_limits(value, variance, float(cases.class_groups[k]))
            class_limits.append((value, limits.low, limits.high))
        return self._mean(row, np.array(class_limits), self.replicates["f1"][:, cases.present])

    def mean_ranked(self, row: Metric) -> Measure:
        """Macro AUC or average precision: MOVER over the one-v-rest values."""
        names = [n for n in self.cases.classes if n in self.cases.scores]
        if not names:
            return self._absent()
        parts = []
        for name in names:
            value, variance = self._variance(f"{row.name}:{name}")
            limits = logit_limits(value, variance, self.cases.scarcer_groups(name))
            parts.append((value, limits.low, limits.high))
        drawn = np.stack([self.replicates[f"{row.name}:{n}"] for n in names], axis=1)
        return self._mean(row, np.array(parts), drawn)

    def _bounded(
        self,
        key: str,
        fewest: float,
        needed: int,
        bounds: tuple[float, float] = (0.0, 1.0),
        column: int | None = None,
    ) -> Measure:
        value, variance = self._variance(key, column)
        if np.isnan(value):
            return Measure(None, None, None, len(self.cases.y_true), "undefined")
        limits = logit_limits(value, variance, fewest, bounds)
        return self._stated(key, value, limits, fewest, needed)

    def _mean(self, row: Metric, parts: Floats, drawn: Floats) -> Measure:
        """MOVER over classes: `parts (K, 3)` are value, low and high, `drawn (B, K)` replicates."""
        limits = mean_limits(parts[:, 0], parts[:, 1], parts[:, 2], correlations(drawn))
        scarcest = float(self.cases.class_groups[self.cases.present].min())
        hard = self.cases.mixed or self.cases.present.sum() < 3
        needed = row.minimum_hard if hard and row.minimum_hard is not None else row.minimum
        return self._stated(row.name, float(parts[:, 0].mean()), limits, scarcest, needed)

    def _variance(self, key: str, column: int | None = None) -> tuple[float, float]:
        """The value and its variance: DeLong's for the AUC of independent cases."""
        value, drawn = self.point[key], self.replicates[key]
        if column is not None:
            value, drawn = value[column], drawn[:, column]
        metric, _, name = key.partition(":")
        if metric == "roc_auc" and name and self.cases.independent:
            positive, score = self.cases.scores[name]
            if min(positive.sum(), (~positive).sum()) >= 2:
                return float(value), float(delong(positive, score[None]).covariance[0, 0])
        defined = drawn[~np.isnan(drawn)]
        return float(value), float(defined.var(ddof=1)) if len(defined) > 1 else 0.0

    def _stated(
        self, key: str, value: float, limits: Limits, fewest: float, needed: int
    ) -> Measure:
        n = len(self.cases.y_true)
        if fewest < needed:
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
