"""The tables of measures: the headline, each class, the malignant classes against the others."""

from __future__ import annotations

import numpy as np

from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import Measured, Rows
from lesionlab.evaluation.reliability import ECE_METHOD, expected_calibration_error
from lesionlab.evaluation.statistics import AT, Cases

MALIGNANT = "malignant"  # the name of the summed score, beside the classes' own names


def headline(m: Measured, positive: str | None) -> dict[str, Measure]:
    """The numbers that stand at the top.

    For two classes AUC and average precision are those of `positive`, else means over classes.
    """
    c = m.cases
    everyone = np.ones(len(c.y_true), bool)
    majority = int(np.bincount(c.y_true, minlength=len(c.classes)).argmax())
    right = c.y_pred == c.y_true
    result = {
        "accuracy": m.share(right, everyone),
        "majority_accuracy": m.share(c.y_true == majority, everyone),
        "balanced_accuracy": m.mean_recall(),
        "balanced_accuracy_prior_corrected": corrected(m),
        "roc_auc": m.mean_ranked("roc_auc"),
        "average_precision": m.mean_ranked("average_precision"),
        "mcc": m.agreement("mcc"),
        "kappa": m.agreement("kappa"),
        "f1_macro": m.mean_f1(),
        "error_rate": m.share(~right, everyone),
        "nll": m.loss("nll"),
        "brier": m.loss("brier"),
        "ece": expected_error(c),
    }
    return result | ranked(m, positive) if positive else result


def corrected(m: Measured) -> Measure:
    """Balanced accuracy of the decision at a uniform prior, where the prior is known."""
    if m.cases.y_pred_corrected is None:
        method = "not computed: the prior of the probabilities is not known"
        return Measure(None, None, None, len(m.cases.y_true), method)
    return m.mean_recall("_prior_corrected")


def expected_error(c: Cases) -> Measure:
    """ECE of the highest probability; no interval can be given honestly."""
    value = expected_calibration_error(c.y_prob.max(1), c.y_true == c.y_prob.argmax(1))
    return Measure(value, None, None, len(c.y_true), ECE_METHOD)


def ranked(m: Measured, name: str) -> dict[str, Measure]:
    """All ranking metrics of one score."""
    keys = ["roc_auc", "average_precision", "interpolated_pr_area", "partial_auc_80"]
    for at in AT:
        keys.append(f"sensitivity_at_specificity_{round(at * 100)}")
        keys.append(f"specificity_at_sensitivity_{round(at * 100)}")
    return {key: m.ranked(key, name) for key in keys}


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


def two_by_two(m: Measured, is_class: Rows, called: Rows) -> dict[str, Measure]:
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
