"""All metrics of one predictions table, for any number of group weightings at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from lesionlab.array_types import Floats
from lesionlab.evaluation import confusion, ranking
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.metric_table import (
    METRICS,
    PER_CLASS,
    RANKING_METRICS,
    Decision,
    Metric,
)

FPR_GRID = np.linspace(0, 1, 101)
RECALL_GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Statistics:
    """A function of group counts `(b, G)` that returns every metric as `(b, ...)`."""

    cases: Cases
    bands: bool = True  # whether the curves are followed too

    @cached_property
    def rankings(self) -> dict[str, ranking.Ranking]:
        """Each score sorted once."""
        return {
            name: ranking.rank(positive, score, self.cases.codes)
            for name, (positive, score) in self.cases.scores.items()
        }

    @cached_property
    def losses(self) -> list[Metric]:
        """The metrics that are means of a loss over the cases."""
        return [m for m in METRICS.values() if m.family == "log t"]

    @cached_property
    def sums(self) -> Any:
        """Sparse `(cells, G)`: what each group adds to the confusion matrices and the losses."""
        c, k = self.cases, len(self.cases.classes)
        corrected = c.y_pred if c.y_pred_corrected is None else c.y_pred_corrected
        rows = [c.y_true * k + c.y_pred, k * k + c.y_true * k + corrected]
        values = [np.ones(len(c.y_true))] * 2
        for i, metric in enumerate(self.losses):
            assert metric.per_case is not None, metric.name
            rows.append(np.full(len(c.y_true), 2 * k * k + i))
            values.append(metric.per_case(c))
        where = (np.concatenate(rows), np.tile(c.codes, len(rows)))
        shape = (2 * k * k + len(self.losses), c.n_groups)
        return sparse.coo_array((np.concatenate(values), where), shape=shape).tocsr()

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Every statistic of `counts (b, G)`."""
        columns = np.ascontiguousarray(counts.T)
        result = self._decisions(columns)
        for name, ranked in self.rankings.items():
            at_blocks = ranking.ranked_counts(ranked, columns)
            result |= _ranked(name, at_blocks, name in self.cases.full)
            if self.bands:
                result |= _bands(name, at_blocks)
        self._means_over_rankings(result)
        return result

    def _decisions(self, columns: Floats) -> dict[str, Floats]:
        k, present = len(self.cases.classes), self.cases.present
        sums = np.ascontiguousarray((self.sums @ columns).T)
        matrices: dict[Decision, Floats] = {
            "argmax": sums[:, : k * k].reshape(-1, k, k),
            "prior_corrected": sums[:, k * k : 2 * k * k].reshape(-1, k, k),
        }
        n = matrices["argmax"].sum((1, 2))
        result = {name: of(matrices["argmax"]) for name, of in PER_CLASS.items()}
        corrected = confusion.sensitivity(matrices["prior_corrected"])
        result["sensitivity_prior_corrected"] = corrected
        for metric in METRICS.values():
            if metric.counts is not None and metric.applies(self.cases):
                result[metric.name] = metric.counts(matrices[metric.decision], present)
        for i, metric in enumerate(self.losses):
            result[metric.name] = confusion.ratio(sums[:, 2 * k * k + i], n)
        return result

    def _means_over_rankings(self, result: dict[str, Floats]) -> None:
        names = [n for n in self.cases.classes if n in self.rankings]
        for metric in METRICS.values():
            if names and metric.family == "MOVER over rankings":
                each = np.stack([result[f"{metric.name}:{n}"] for n in names], axis=1)
                result[metric.name] = each.mean(axis=1)


def _ranked(name: str, c: ranking.RankedCounts, full: bool) -> dict[str, Floats]:
    return {
        f"{metric.name}:{name}": metric.counts(c)
        for metric in RANKING_METRICS.values()
        if full or metric.every_score
    }


def _bands(name: str, c: ranking.RankedCounts) -> dict[str, Floats]:
    return {
        f"roc_band:{name}": ranking.sensitivity_along(c, FPR_GRID),
        f"pr_band:{name}": ranking.precision_along(c, RECALL_GRID),
    }
