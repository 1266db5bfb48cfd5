"""From point estimates and replicates to measures: which interval each metric gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.bootstrap import bootstrap
from lesionlab.evaluation.intervals import (
    FEWEST,
    Measure,
    clustered_proportion,
    measure,
    proportion_measure,
    too_few,
    wilson,
)
from lesionlab.evaluation.paired import delong
from lesionlab.evaluation.predictions import Floats
from lesionlab.evaluation.resampled import (
    Limits,
    correlations,
    harmonic,
    log_limits,
    logit_limits,
    mean_limits,
)
from lesionlab.evaluation.statistics import Cases, Statistics
from lesionlab.progress import SILENT, Progress

Rows = npt.NDArray[np.bool_]
MOST_UNDEFINED = 0.05  # of the replicates; with more, the others no longer stand for all
BOUNDS = {"partial_auc_80": (0.0, 0.2), "mcc": (-1.0, 1.0), "kappa": (-1.0, 1.0)}


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
    return Measured(cases, point, replicates, {})


@dataclass(frozen=True)
class Measured:
    """Point estimates and replicates of all statistics; `undefined` counts replicates by metric."""

    cases: Cases
    point: dict[str, Floats]
    replicates: dict[str, Floats]
    undefined: dict[str, int]

    def share(self, part: Rows, whole: Rows) -> Measure:
        """The share of the cases `whole` that are also in `part`."""
        return proportion_measure(part, whole, self.cases.codes)

    def predictive(self, part: Rows, whole: Rows, is_class: Rows) -> Measure:
        """A predictive value: it hangs on the scarcer of the class's and the other groups too.

        Simulated with 12 effective positive groups of very unequal size, the interval of an NPV
        that only counted the groups called negative covered 88 % (docs/coverage.md).
        """
        found = self.share(part, whole)
        fewest = min(self.cases.worth(is_class), self.cases.worth(~is_class))
        if found.value is None or fewest >= FEWEST["share"] - 1e-9:
            return found
        return too_few(found.value, found.n, fewest, FEWEST["share"])

    def ranked(self, metric: str, name: str) -> Measure:
        """A ranking metric of one score: logit t, with DeLong's variance where it holds."""
        if name not in self.cases.scores:
            return self._absent()
        family = metric if metric in FEWEST else metric.rsplit("_", 1)[0]
        if self.cases.mixed and family in ("average_precision", "interpolated_pr_area"):
            family = "precision_of_mixed"
        return self._bounded(
            f"{metric}:{name}",
            self.cases.scarcer_groups(name),
            FEWEST[family],
            BOUNDS.get(metric, (0.0, 1.0)),
        )

    def f1(self, k: int) -> Measure:
        """F1 of class k."""
        if not self.cases.class_groups[k]:
            return self._absent()
        return self._bounded("f1", float(self.cases.class_groups[k]), FEWEST["f1"], column=k)

    def agreement(self, metric: str) -> Measure:
        """MCC or kappa."""
        groups = self.cases.class_groups[self.cases.present]
        return self._bounded(metric, harmonic(groups), FEWEST["agreement"], BOUNDS[metric])

    def loss(self, metric: str) -> Measure:
        """NLL or Brier score: log t."""
        value, variance = self._variance(metric)
        fewest = harmonic(self.cases.class_groups[self.cases.present])
        limits = log_limits(value, variance, fewest)
        return self._stated(metric, value, limits, fewest, FEWEST["loss"])

    def mean_recall(self, suffix: str = "") -> Measure:
        """Balanced accuracy: MOVER over the Wilson intervals of the classes' sensitivities."""
        c, key = self.cases, f"sensitivity{suffix}"
        decision = c.y_pred_corrected if suffix and c.y_pred_corrected is not None else c.y_pred
        parts = []
        for k in np.flatnonzero(c.present):
            whole = c.y_true == k
            part = (whole & (decision == k)).astype(np.float64)
            share = clustered_proportion(part, whole.astype(np.float64), c.codes)
            low, high = wilson(share.value, share.effective_n, df=share.df)
            parts.append((share.value, low, high))
        return self._mean(f"balanced_accuracy{suffix}", np.array(parts), key)

    def mean_f1(self) -> Measure:
        """Macro F1: MOVER over the classes."""
        c, parts = self.cases, []
        for k in np.flatnonzero(c.present):
            value, variance = self._variance("f1", int(k))
            limits = logit_limits(value, variance, float(c.class_groups[k]))
            parts.append((value, limits.low, limits.high))
        return self._mean("f1_macro", np.array(parts), "f1")

    def mean_ranked(self, metric: str) -> Measure:
        """Macro AUC or average precision: MOVER over the one-v-rest values."""
        names = [n for n in self.cases.classes if n in self.cases.scores]
        if not names:
            return self._absent()
        parts = []
        for name in names:
            value, variance = self._variance(f"{metric}:{name}")
            limits = logit_limits(value, variance, self.cases.scarcer_groups(name))
            parts.append((value, limits.low, limits.high))
        drawn = np.stack([self.replicates[f"{metric}:{n}"] for n in names], axis=1)
        return self._mean(metric, np.array(parts), drawn=drawn)

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

    def _mean(
        self, name: str, parts: Floats, key: str = "", drawn: Floats | None = None
    ) -> Measure:
        if drawn is None:
            drawn = self.replicates[key][:, self.cases.present]
        self._count_undefined(name, drawn.mean(axis=1))
        limits = mean_limits(parts[:, 0], parts[:, 1], parts[:, 2], correlations(drawn))
        fewest = float(self.cases.class_groups[self.cases.present].min())
        hard = self.cases.mixed or self.cases.present.sum() < 3
        needed = FEWEST["mean_over_two_or_mixed" if hard else "mean_over_classes"]
        return self._stated(name, float(parts[:, 0].mean()), limits, fewest, needed)

    def _variance(self, key: str, column: int | None = None) -> tuple[float, float]:
        """The value and its variance: DeLong's for the AUC of independent cases."""
        value, drawn = self.point[key], self.replicates[key]
        if column is not None:
            value, drawn = value[column], drawn[:, column]
        self._count_undefined(key if column is None else f"{key}:{self._name(column)}", drawn)
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
        return len(self.replicates["accuracy"])

    def _name(self, column: int) -> str:
        return self.cases.classes[column]

    def _count_undefined(self, key: str, drawn: Floats) -> None:
        count = int(np.isnan(drawn).sum())
        if count:
            self.undefined[key] = count

    def _absent(self) -> Measure:
        method = "undefined: the class is absent, or the only one"
        return Measure(None, None, None, len(self.cases.y_true), method)
