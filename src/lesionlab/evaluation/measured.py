"""From point estimates and replicates to measures: the headline, the classes, the two groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.bootstrap import percentile_interval
from lesionlab.evaluation.intervals import Measure, measure, proportion_measure
from lesionlab.evaluation.predictions import Floats
from lesionlab.evaluation.reliability import ECE_METHOD, expected_calibration_error
from lesionlab.evaluation.statistics import AT, Cases

Rows = npt.NDArray[np.bool_]
MALIGNANT = "malignant"  # the name of the summed score, beside the classes' own names


@dataclass(frozen=True)
class Measured:
    """Point estimates and replicates of all statistics; counts the undefined replicates."""

    cases: Cases
    point: dict[str, Floats]
    replicates: dict[str, Floats]
    undefined: dict[str, int]

    def of(self, key: str, column: int | None = None) -> Measure:
        """The bootstrapped statistic `key` (of one class, where it has a column a class)."""
        n = len(self.cases.y_true)
        if key not in self.point:
            return Measure(None, None, None, n, "undefined: the class is absent, or the only one")
        value, drawn = self.point[key], self.replicates[key]
        if column is not None:
            value, drawn = value[column], drawn[:, column]
        low, high, undefined = percentile_interval(drawn)
        if undefined:
            self.undefined[key] = self.undefined.get(key, 0) + undefined
        method = f"percentile bootstrap of {self.cases.n_groups} groups, {len(drawn)} resamples"
        return measure(float(value), low, high, n, method)

    def share(self, part: Rows, whole: Rows) -> Measure:
        """The share of the cases `whole` that are also in `part`."""
        return proportion_measure(part & whole, whole, self.cases.codes)


def headline(m: Measured, malignant: tuple[str, ...]) -> dict[str, Measure]:
    """The numbers that stand at the top; AUC and average precision as for two classes, or macro."""
    c = m.cases
    everyone = np.ones(len(c.y_true), bool)
    majority = int(np.bincount(c.y_true, minlength=len(c.classes)).argmax())
    right = c.y_pred == c.y_true
    result = {
        "accuracy": m.share(right, everyone),
        "majority_accuracy": m.share(c.y_true == majority, everyone),
        "balanced_accuracy": m.of("balanced_accuracy"),
        "balanced_accuracy_prior_corrected": m.of("balanced_accuracy_prior_corrected"),
        "roc_auc": m.of("roc_auc"),
        "average_precision": m.of("average_precision"),
        "mcc": m.of("mcc"),
        "kappa": m.of("kappa"),
        "f1_macro": m.of("f1_macro"),
        "error_rate": m.share(~right, everyone),
        "nll": m.of("nll"),
        "brier": m.of("brier"),
        "ece": expected_error(c),
    }
    if len(c.classes) == 2:
        name = malignant[0] if malignant else c.classes[1]
        result |= ranked(m, name)
    if c.y_pred_corrected is None:
        method = "not computed: the prior of the probabilities is not known"
        result["balanced_accuracy_prior_corrected"] = Measure(
            None, None, None, len(c.y_true), method
        )
    return result


def expected_error(c: Cases) -> Measure:
    """ECE of the highest probability; no interval can be given honestly."""
    confidence = c.y_prob.max(1)
    value = expected_calibration_error(confidence, c.y_true == c.y_prob.argmax(1))
    return Measure(value, None, None, len(c.y_true), ECE_METHOD)


def ranked(m: Measured, name: str) -> dict[str, Measure]:
    """All ranking metrics of one score."""
    keys = ["roc_auc", "average_precision", "interpolated_pr_area", "partial_auc_80"]
    for at in AT:
        keys.append(f"sensitivity_at_specificity_{round(at * 100)}")
        keys.append(f"specificity_at_sensitivity_{round(at * 100)}")
    return {key: m.of(f"{key}:{name}") for key in keys}


def per_class(m: Measured) -> dict[str, dict[str, Measure]]:
    """Each class against the rest: by the argmax decision, and by its score's ranking."""
    result = {}
    for k, name in enumerate(m.cases.classes):
        is_class, called = m.cases.y_true == k, m.cases.y_pred == k
        result[name] = two_by_two(m, is_class, called) | {
            "f1": m.of("f1", k),
            "roc_auc": m.of(f"roc_auc:{name}"),
            "average_precision": m.of(f"average_precision:{name}"),
        }
    return result


def two_by_two(m: Measured, is_class: Rows, called: Rows) -> dict[str, Measure]:
    """Sensitivity, specificity and the predictive values at the data's own prevalence."""
    return {
        "sensitivity": m.share(called, is_class),
        "specificity": m.share(~called, ~is_class),
        "ppv": m.share(is_class, called),
        "npv": m.share(~is_class, ~called),
    }


def malignant_v_benign(m: Measured, malignant: tuple[str, ...]) -> dict[str, Measure]:
    """The malignant classes against the others; decided by whether argmax names a malignant one."""
    mask = np.isin(np.array(m.cases.classes, dtype=object), list(malignant))
    is_malignant = mask[m.cases.y_true]
    prevalence = m.share(is_malignant, np.ones(len(is_malignant), bool))
    decided = two_by_two(m, is_malignant, mask[m.cases.y_pred])
    return {"prevalence": prevalence} | decided | ranked(m, MALIGNANT)
