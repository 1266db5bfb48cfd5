"""All metrics of one predictions table, for any number of group weightings at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lesionlab.evaluation import confusion, metrics, ranking
from lesionlab.evaluation.intervals import effective_groups
from lesionlab.evaluation.predictions import Floats, Ints

FPR_GRID = np.linspace(0, 1, 101)
RECALL_GRID = np.linspace(0, 1, 101)
AT = (0.8, 0.9, 0.95)  # the sensitivities and specificities at which the other one is given


@dataclass(frozen=True)
class Cases:
    """What is measured: N labelled cases of K classes in G groups.

    `scores` names each ranking: {name: (positive (N,) bool, score (N,))}; those in `full` get
    the whole list of ranking metrics, the others AUC and average precision.
    """

    classes: tuple[str, ...]
    y_true: Ints
    y_prob: Floats
    y_pred: Ints
    y_pred_corrected: Ints | None
    codes: Ints
    n_groups: int
    scores: Mapping[str, tuple[npt.NDArray[np.bool_], Floats]]
    full: frozenset[str]

    @cached_property
    def independent(self) -> bool:
        """Whether each group is a single case."""
        return self.n_groups == len(self.codes)

    @cached_property
    def class_groups(self) -> Floats:
        """`(K,)`: how many groups, by effective number, hold cases of each class."""
        k = len(self.classes)
        return np.array([self.worth(self.y_true == i) for i in range(k)])

    def scarcer_groups(self, name: str) -> float:
        """Effective groups with a positive case of a score, or with a negative one: the fewer."""
        positive = self.scores[name][0]
        return min(self.worth(positive), self.worth(~positive))

    def worth(self, rows: npt.NDArray[np.bool_]) -> float:
        """The effective number of groups that hold these cases."""
        return effective_groups(np.bincount(self.codes[rows], minlength=1).astype(np.float64))

    @cached_property
    def mixed(self) -> bool:
        """Whether a group holds cases of several classes."""
        k = len(self.classes)
        held = np.bincount(np.unique(self.codes * k + self.y_true) // k)
        return bool((held > 1).any())

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """`(K,)`: the classes that occur."""
        return np.bincount(self.y_true, minlength=len(self.classes)) > 0


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
    def sums(self) -> Any:
        """Sparse `(cells, G)`: what each group adds to the confusion matrices and the losses."""
        c, k = self.cases, len(self.cases.classes)
        rows = [c.y_true * k + c.y_pred]
        values = [np.ones(len(c.y_true))] * 2
        corrected = c.y_pred if c.y_pred_corrected is None else c.y_pred_corrected
        rows.append(k * k + c.y_true * k + corrected)
        for i, loss in enumerate((metrics.nll_per_case, metrics.brier_per_case)):
            rows.append(np.full(len(c.y_true), 2 * k * k + i))
            values.append(loss(c.y_true, c.y_prob))
        where = (np.concatenate(rows), np.tile(c.codes, 4))
        shape = (2 * k * k + 2, c.n_groups)
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
        self._macro(result)
        return result

    def _decisions(self, columns: Floats) -> dict[str, Floats]:
        k, present = len(self.cases.classes), self.cases.present
        sums = np.ascontiguousarray((self.sums @ columns).T)
        matrix = sums[:, : k * k].reshape(-1, k, k)
        corrected = sums[:, k * k : 2 * k * k].reshape(-1, k, k)
        n = matrix.sum((1, 2))
        result = _from_matrix(matrix, present)
        recall = confusion.sensitivity(corrected)
        result["sensitivity_prior_corrected"] = recall
        result["balanced_accuracy_prior_corrected"] = confusion.mean_over(recall, present)
        result["nll"] = confusion.ratio(sums[:, -2], n)
        result["brier"] = confusion.ratio(sums[:, -1], n)
        return result

    def _macro(self, result: dict[str, Floats]) -> None:
        names = [n for n in self.cases.classes if n in self.rankings]
        for metric in ("roc_auc", "average_precision"):
            if names:
                each = np.stack([result[f"{metric}:{n}"] for n in names], axis=1)
                result[metric] = each.mean(axis=1)


def _from_matrix(matrix: Floats, present: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    f1, recall = confusion.f_beta(matrix), confusion.sensitivity(matrix)
    accuracy = confusion.accuracy(matrix)
    return {
        "accuracy": accuracy,
        "error_rate": 1 - accuracy,
        "balanced_accuracy": confusion.mean_over(recall, present),
        "mcc": confusion.matthews(matrix),
        "kappa": confusion.kappa(matrix),
        "f1_macro": confusion.mean_over(f1, present),
        "f1": f1,
        "sensitivity": recall,
    }


def _ranked(name: str, c: ranking.RankedCounts, full: bool) -> dict[str, Floats]:
    result = {
        f"roc_auc:{name}": ranking.roc_auc(c),
        f"average_precision:{name}": ranking.average_precision(c),
    }
    if full:
        result[f"interpolated_pr_area:{name}"] = ranking.interpolated_pr_area(c)
        result[f"partial_auc_80:{name}"] = ranking.partial_auc(c, 0.8)
        for at in AT:
            place = f"{round(at * 100)}:{name}"
            result[f"sensitivity_at_specificity_{place}"] = ranking.sensitivity_at_specificity(
                c, at
            )
            result[f"specificity_at_sensitivity_{place}"] = ranking.specificity_at_sensitivity(
                c, at
            )
    return result


def _bands(name: str, c: ranking.RankedCounts) -> dict[str, Floats]:
    return {
        f"roc_band:{name}": ranking.sensitivity_along(c, FPR_GRID),
        f"pr_band:{name}": ranking.precision_along(c, RECALL_GRID),
    }
