"""The table of the headline metrics, and of the metrics of a score's ranking: add one here.

A metric needs its function (in `confusion`, `metrics` or `ranking`), its row in `METRICS`, and its
words (`metric.<name>`) in the two tables of strings. It then stands in `metrics.json`, on the
command line, in the report and, where it is watched, in the history of a training run. An
attribute of `HeadlineMeasures` makes its name known to editors.
A metric whose interval is of no family below needs that family in `headline` and `measured` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation import confusion, metrics, ranking
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.confusion import Mask
from lesionlab.evaluation.intervals import MINIMUM_GROUPS, Measure
from lesionlab.evaluation.limits import Scale
from lesionlab.evaluation.reliability import ECE_METHOD, expected_calibration_error

Decision = Literal["argmax", "prior_corrected"]
# How the interval is made; `headline.INTERVALS` has the functions, docs/coverage.md their coverage.
Family = Literal[
    "proportion",  # Wilson on the effective n of the groups
    "logit t",  # a bounded number of all classes at once
    "log t",  # a loss, from 0 up
    "MOVER over sensitivities",  # means over classes
    "MOVER over F1",
    "MOVER over rankings",
    "pairwise AUC",  # of Hand and Till; logit t, the variance between groups in closed form
    "none",
]
PER_CLASS: dict[str, Callable[[Floats], Floats]] = {
    "sensitivity": confusion.sensitivity,
    "f1": confusion.f_beta,
}
MEAN = MINIMUM_GROUPS["mean_over_classes"]
HARD_MEAN = MINIMUM_GROUPS["mean_over_two_or_mixed"]


@dataclass(frozen=True)
class Metric:
    """A headline metric: how it is computed, how its interval is made, and where it is shown.

    `counts` takes confusion matrices `(B, K, K)` of B weightings of the groups (those of
    `decision`) and the classes that occur `(K,)`, and returns `(B,)`. `per_case` gives the `(N,)`
    values whose mean the metric is: of a proportion booleans, or shares of a case where ties are
    split, or a loss. `single` is a number
    without an interval, and `method` says why it has none.
    """

    name: str  # the key in metrics.json; its words are the strings `metric.<name>`
    family: Family
    counts: Callable[[Floats, Mask], Floats] | None = None
    per_case: Callable[[Cases], npt.NDArray[Any]] | None = None
    single: Callable[[Cases], float] | None = None
    decision: Decision = "argmax"
    bounds: tuple[float, float] = (0.0, 1.0)
    minimum: int = 0  # effective groups (of the scarcer class) below which there is no interval
    minimum_hard: int | None = None  # of a mean over two classes, or of groups that hold several
    method: str = ""
    minimum_classes: int = 2  # with fewer predicted classes it is another row's number again
    ordered: bool = False  # whether it has a meaning for ordered classes only
    # Its position on the command line and in the report's chart; None: in the full table only.
    position: int | None = None
    # Its value at the end of an epoch: of y_true (N,), y_prob (N, K) and the prior (K,).
    watched: Callable[[Ints, Floats, Floats], float] | None = None

    def applies(self, c: Cases) -> bool:
        """Whether a table of these classes has this metric."""
        return len(c.classes) >= self.minimum_classes and (c.ordered or not self.ordered)

    def needed(self, c: Cases) -> int:
        """The effective groups (of the scarcer class) that an interval needs in these cases."""
        hard = c.mixed or c.present.sum() < 3
        return self.minimum_hard if hard and self.minimum_hard is not None else self.minimum


@dataclass(frozen=True)
class RankingMetric:
    """A metric of one score's order: of the positive class, the malignant ones, or each class."""

    name: str
    counts: Callable[[ranking.RankedCounts], Floats]  # (B,) of B weightings of the groups
    minimum: int
    minimum_mixed: int | None = None  # where groups hold cases of several classes
    bounds: tuple[float, float] = (0.0, 1.0)
    every_score: bool = False  # of each class too, not of the positive and malignant score alone
    scale: Scale = "logit"

    def needed(self, mixed: bool) -> int:
        """The effective groups of the scarcer side; `mixed`: groups hold both kinds of cases."""
        return self.minimum_mixed if mixed and self.minimum_mixed is not None else self.minimum


def _right(c: Cases) -> Mask:
    return np.asarray(c.y_pred == c.y_true)


def _majority(c: Cases) -> Mask:
    majority = np.bincount(c.y_true, minlength=len(c.classes)).argmax()
    return np.asarray(c.y_true == majority)


def _highest_probability_ece(c: Cases) -> float:
    return expected_calibration_error(c.y_prob.max(1), c.y_true == c.y_prob.argmax(1))


def _all_classes(function: Callable[[Floats], Floats]) -> Callable[[Floats, Mask], Floats]:
    """A function of confusion matrices that does not ask which classes occur."""
    return lambda counts, _: function(counts)


def _top(k: int) -> Metric:
    return Metric(
        f"top_{k}_accuracy", "proportion",
        per_case=lambda c: metrics.top_k_credit(c.y_true, c.y_prob, k),
        minimum=MINIMUM_GROUPS["proportion"], minimum_classes=4,
    )  # fmt: skip


def _by_name(*rows: Metric) -> dict[str, Metric]:
    return {row.name: row for row in rows}


METRICS = _by_name(
    Metric(
        "accuracy", "proportion", counts=_all_classes(confusion.accuracy), per_case=_right,
        minimum=MINIMUM_GROUPS["proportion"], position=3,
        watched=lambda y, p, _: metrics.accuracy(y, metrics.decide(p)),
    ),
    Metric(
        "majority_accuracy", "proportion", per_case=_majority,
        minimum=MINIMUM_GROUPS["proportion"], position=4,
    ),
    Metric(
        "balanced_accuracy", "MOVER over sensitivities", counts=confusion.balanced_accuracy,
        minimum=MEAN, minimum_hard=HARD_MEAN, position=2,
        watched=lambda y, p, _: metrics.balanced_accuracy(y, metrics.decide(p)),
    ),
    Metric(
        "balanced_accuracy_prior_corrected", "MOVER over sensitivities",
        counts=confusion.balanced_accuracy, decision="prior_corrected",
        minimum=MEAN, minimum_hard=HARD_MEAN, position=1,
        watched=lambda y, p, prior: metrics.balanced_accuracy(y, metrics.decide(p, prior)),
    ),
    Metric(
        "roc_auc", "MOVER over rankings", minimum=MEAN, minimum_hard=HARD_MEAN, position=5,
        watched=lambda y, p, _: metrics.roc_auc_macro(y, p),
    ),
    Metric(
        "average_precision", "MOVER over rankings", minimum=MEAN, minimum_hard=HARD_MEAN,
        position=6, watched=lambda y, p, _: metrics.average_precision_macro(y, p),
    ),
    Metric(
        "mcc", "logit t", counts=_all_classes(confusion.matthews), bounds=(-1.0, 1.0), minimum=20
    ),
    Metric(
        "kappa", "logit t", counts=_all_classes(confusion.kappa), bounds=(-1.0, 1.0), minimum=20
    ),
    Metric(
        "f1_macro", "MOVER over F1", minimum=MEAN, minimum_hard=HARD_MEAN,
        counts=lambda counts, present: confusion.mean_over(confusion.f_beta(counts), present),
    ),
    Metric(
        "error_rate", "proportion", counts=lambda counts, _: 1 - confusion.accuracy(counts),
        per_case=lambda c: ~_right(c), minimum=MINIMUM_GROUPS["proportion"],
    ),
    Metric(
        "nll", "log t", per_case=lambda c: metrics.nll_per_case(c.y_true, c.y_prob),
        bounds=(0.0, math.inf), minimum=30,
    ),
    Metric(
        "brier", "log t", per_case=lambda c: metrics.brier_per_case(c.y_true, c.y_prob),
        bounds=(0.0, math.inf), minimum=30,
    ),
    Metric("ece", "none", single=_highest_probability_ece, method=ECE_METHOD),
    Metric(
        # Where two of several classes occur it is one AUC, whose own minimum holds.
        "hand_till_auc", "pairwise AUC", minimum=MEAN, minimum_hard=15, minimum_classes=3,
    ),
    _top(2),
    _top(3),
    Metric(
        "quadratic_kappa", "logit t", counts=_all_classes(confusion.quadratic_kappa),
        bounds=(-1.0, 1.0), minimum=20, minimum_classes=3, ordered=True,
    ),
)  # fmt: skip


def _sensitivity_at(specificity: int, minimum: int) -> RankingMetric:
    return RankingMetric(
        f"sensitivity_at_specificity_{specificity}",
        lambda c: ranking.sensitivity_at_specificity(c, specificity / 100),
        minimum,
        scale="share",
    )


def _specificity_at(sensitivity: int, minimum: int) -> RankingMetric:
    return RankingMetric(
        f"specificity_at_sensitivity_{sensitivity}",
        lambda c: ranking.specificity_at_sensitivity(c, sensitivity / 100),
        minimum,
        scale="share",
    )


RANKING_METRICS = {
    row.name: row
    for row in (
        RankingMetric("roc_auc", ranking.roc_auc, 15, every_score=True),
        RankingMetric("average_precision", ranking.average_precision, 40, 80, every_score=True),
        RankingMetric("interpolated_pr_area", ranking.interpolated_pr_area, 40, 80),
        RankingMetric(
            "partial_auc_80", lambda c: ranking.partial_auc(c, 0.8), 80, bounds=(0.0, 0.2)
        ),
        _sensitivity_at(80, 20),
        _specificity_at(80, 20),
        _sensitivity_at(90, 20),
        _specificity_at(90, 40),
        _sensitivity_at(95, 20),
        _specificity_at(95, 80),
    )
}


def highlighted() -> list[str]:
    """The metrics that the command line and the report's chart show, in their order there."""
    found = [(row.position, name) for name, row in METRICS.items() if row.position is not None]
    return [name for _, name in sorted(found)]


def bounds_of(name: str) -> tuple[float, float]:
    """The range of a metric of either table; [0, 1] for any other proportion."""
    row = METRICS.get(name) or RANKING_METRICS.get(name)
    return (0.0, 1.0) if row is None else row.bounds


class HeadlineMeasures:
    """The headline's measures as attributes, so that editors and type checkers know their names.

    Those after `quadratic_kappa` are given for two classes only; `hand_till_auc` from three
    classes on, `top_2_accuracy` and `top_3_accuracy` from four, `quadratic_kappa` of ordered ones.
    """

    accuracy: Measure
    majority_accuracy: Measure
    balanced_accuracy: Measure
    balanced_accuracy_prior_corrected: Measure
    roc_auc: Measure
    average_precision: Measure
    mcc: Measure
    kappa: Measure
    f1_macro: Measure
    error_rate: Measure
    nll: Measure
    brier: Measure
    ece: Measure
    hand_till_auc: Measure
    top_2_accuracy: Measure
    top_3_accuracy: Measure
    quadratic_kappa: Measure
    interpolated_pr_area: Measure
    partial_auc_80: Measure
    sensitivity_at_specificity_80: Measure
    sensitivity_at_specificity_90: Measure
    sensitivity_at_specificity_95: Measure
    specificity_at_sensitivity_80: Measure
    specificity_at_sensitivity_90: Measure
    specificity_at_sensitivity_95: Measure
