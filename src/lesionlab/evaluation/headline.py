"""The tables of measures: the headline, each class, the malignant classes against the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lesionlab.array_types import Bools
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import Measured
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS, Family, Metric

MALIGNANT = "malignant"  # the name of the summed score, beside the classes' own names


def headline(m: Measured, positive: str | None) -> dict[str, Measure]:
    """The numbers that stand at the top.

    For two classes AUC and average precision are those of `positive`, else means over classes.
    A metric that does not apply to these classes (`Metric.applies`) is left out.
    """
    rows = {name: row for name, row in METRICS.items() if row.applies(m.cases)}
    result = {name: headline_metric(m, row) for name, row in rows.items()}
    return result | ranked(m, positive) if positive else result


def headline_metric(m: Measured, row: Metric) -> Measure:
    """One metric of the table, with the interval of its family."""
    if row.decision == "prior_corrected" and m.cases.y_pred_corrected is None:
        method = "not computed: the prior of the probabilities is not known"
        return Measure(None, None, None, len(m.cases.y_true), method)
    return INTERVALS[row.family](m, row)


def _proportion(m: Measured, row: Metric) -> Measure:
    assert row.per_case is not None
    return m.share(row.per_case(m.cases), np.ones(len(m.cases.y_true), bool))


def _single(m: Measured, row: Metric) -> Measure:
    """A number of which no interval can be given honestly."""
    assert row.single is not None
    return Measure(row.single(m.cases), None, None, len(m.cases.y_true), row.method)


INTERVALS: dict[Family, Callable[[Measured, Metric], Measure]] = {
    "proportion": _proportion,
    "logit t": Measured.bounded,
    "log t": Measured.loss,
    "MOVER over sensitivities": Measured.mean,
    "MOVER over F1": Measured.mean,
    "MOVER over rankings": Measured.mean,
    "pairwise AUC": Measured.pairwise,
    "none": _single,
}


def ranked(m: Measured, name: str) -> dict[str, Measure]:
    """All ranking metrics of one score."""
    return {key: m.ranked(key, name) for key in RANKING_METRICS}


def per_class(m: Measured) -> dict[str, dict[str, Measure]]:
    """Each class against the rest: by the argmax decision, and by its score's ranking."""
    result = {}
    for k, name in enumerate(m.cases.classes):
        is_class, called = m.cases.y_true == k, m.cases.y_pred == k
        result[name] = two_by_two(m, is_class, called) | {
            "f1": m.f1(k),
            "roc_auc": m.ranked("roc_auc", name),
            "average_precision": m.ranked("average_precision", name),
        }
    return result


def two_by_two(m: Measured, is_class: Bools, called: Bools) -> dict[str, Measure]:
    """Sensitivity, specificity and the predictive values at the data's own prevalence."""
    return {
        "sensitivity": m.share(called, is_class),
        "specificity": m.share(~called, ~is_class),
        "ppv": m.predictive(is_class, called, is_class),
        "npv": m.predictive(~is_class, ~called, is_class),
    }


def malignant_v_benign(m: Measured, malignant: tuple[str, ...]) -> dict[str, Measure]:
    """The malignant classes against the others; decided by whether argmax names a malignant one."""
    mask = np.isin(np.array(m.cases.classes, dtype=object), list(malignant))
    is_malignant = mask[m.cases.y_true]
    prevalence = m.share(is_malignant, np.ones(len(is_malignant), bool))
    decided = two_by_two(m, is_malignant, mask[m.cases.y_pred])
    return {"prevalence": prevalence} | decided | ranked(m, MALIGNANT)
