"""The parts of an evaluation that are not single measures: counts, matrices, curves, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import counted
from lesionlab.evaluation import confusion, curves
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.decision_curve import decision_curve
from lesionlab.evaluation.headline import MALIGNANT, two_by_two
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import Measured
from lesionlab.evaluation.metrics import absent_classes
from lesionlab.evaluation.operating_point import OperatingPoint, apply_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.prevalence import PREVALENCES, values_at
from lesionlab.evaluation.reliability import calibration_line, reliability_bins
from lesionlab.evaluation.units import AGGREGATION


class ConfusionTable(TypedDict):
    """`counts (K, K)`: rows are the truth; `rows (K, K)` sum to 1, NaN for an absent class."""

    classes: list[str]
    counts: Ints
    rows: Floats


class PointCounts(TypedDict):
    """Cases at an operating point."""

    tp: int
    fn: int
    fp: int
    tn: int


class PointResult(TypedDict):
    """A locked operating point as it was chosen (JSON), and what it shows on the data measured."""

    chosen: dict[str, Any]
    threshold: float
    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    npv: Measure
    counts: PointCounts
    prevalence: float | None
    at_prevalence: list[dict[str, Any]]  # prevalence, ppv, npv


class CalibrationResult(TypedDict):
    """Reliability bins of the highest probability; bins and calibration line of each score."""

    score: str
    bins: list[dict[str, Any]]
    classes: dict[str, dict[str, Any]]


def class_counts(c: Cases) -> dict[str, dict[str, int]]:
    """`{class: {images, groups}}`; a group with two classes counts in both."""
    result = {}
    for k, name in enumerate(c.classes):
        rows = c.y_true == k
        result[name] = {"images": int(rows.sum()), "groups": len(np.unique(c.codes[rows]))}
    return result


def confusion_section(c: Cases, y_pred: Ints) -> ConfusionTable:
    """Counts, and rows that sum to 1 (null for an absent class)."""
    counts = confusion.confusion_matrix(c.y_true, y_pred, len(c.classes))
    rows = confusion.ratio(counts, counts.sum(1, keepdims=True))
    return {"classes": list(c.classes), "counts": counts.astype(int), "rows": rows}


def operating_point_section(
    point: OperatingPoint, data: Predictions, m: Measured, prevalences: Sequence[float]
) -> PointResult:
    """The point as it was chosen, and what it shows on these data, unchanged."""
    called = apply_operating_point(point, data.y_prob, data.classes)
    names = np.array(data.classes, dtype=object)[data.y_true]
    is_positive = np.isin(names, list(point.score))
    here = two_by_two(m, is_positive, called)
    own = [float(is_positive.mean())] if 0 < is_positive.mean() < 1 else []
    at = sorted({*PREVALENCES, *prevalences} - {*own})
    rows = values_at(here["sensitivity"], here["specificity"], at)
    # At the data's own prevalence the values are those that were seen: it is no assumption.
    rows += [{"prevalence": p, **{k: here[k].to_json() for k in ("ppv", "npv")}} for p in own]
    return {
        "chosen": point.to_json(),
        "threshold": point.threshold,
        "sensitivity": here["sensitivity"],
        "specificity": here["specificity"],
        "ppv": here["ppv"],
        "npv": here["npv"],
        "counts": {
            "tp": int((called & is_positive).sum()),
            "fn": int((~called & is_positive).sum()),
            "fp": int((called & ~is_positive).sum()),
            "tn": int((~called & ~is_positive).sum()),
        },
        "prevalence": own[0] if own else None,
        "at_prevalence": sorted(rows, key=lambda row: float(row["prevalence"])),
    }


def calibration_section(c: Cases) -> CalibrationResult:
    """Reliability bins of the highest probability; bins and calibration line of each score."""
    confidence, top = c.y_prob.max(1), c.y_prob.argmax(1)
    return {
        "score": "highest probability",
        "bins": reliability_bins(confidence, top == c.y_true, c.codes),
        "classes": {
            name: {"bins": reliability_bins(score, positive, c.codes)}
            | calibration_line(score, positive, c.codes)
            for name, (positive, score) in c.scores.items()
        },
    }


def decision_section(c: Cases) -> dict[str, Any] | None:
    """The decision curve of the malignant score (for two classes, of the positive class)."""
    name = next((n for n in (MALIGNANT, *c.classes) if n in c.full and n in c.scores), None)
    if name is None:
        return None
    positive, score = c.scores[name]
    return {"score": name} | decision_curve(score, positive, c.codes)


def curves_section(m: Measured) -> dict[str, Any]:
    """ROC and precision-recall of every score, with pointwise 95 % bands."""
    return {
        name: curves.curve_json(positive, score, curves.bands(m, name))
        for name, (positive, score) in m.cases.scores.items()
    }


def decisions_section(
    unit: str,
    malignant: tuple[str, ...],
    prior: Mapping[str, float] | None,
    grades: tuple[str, ...] = (),
) -> dict[str, str]:
    """What each decision and score assumes, in words; `grades`: the classes, where ordered."""
    known = ", ".join(f"{name} {share:.3g}" for name, share in (prior or {}).items())
    assumed = known or "those at which the probabilities were made, which are not known"
    result = {
        "argmax": "the class of the highest probability: right where the classes are as frequent "
        f"as the probabilities assume ({assumed})",
        "unit": AGGREGATION[unit],
    }
    if prior is not None:
        result["prior_corrected"] = (
            "the class of the highest probability / prior: right where all classes are equally "
            "frequent, which is what balanced accuracy rewards"
        )
    if grades:
        result["ordered"] = "the classes are grades, in this order: " + ", ".join(grades)
    if malignant:
        result[MALIGNANT] = "score: sum of the probabilities of " + ", ".join(malignant)
    return result


def notes_section(unlabelled: int, c: Cases) -> tuple[str, ...]:
    """What a reader must know before believing the numbers."""
    notes = []
    if unlabelled:
        notes.append(
            counted(
                unlabelled,
                "image has no label and is left out",
                "images have no label and are left out",
            )
        )
    absent = [c.classes[k] for k in absent_classes(c.y_true, len(c.classes))]
    if absent:
        notes.append(f"absent from the truth, ignored in every mean: {', '.join(absent)}")
    if len(absent) == len(c.classes) - 1:
        notes.append("only one class occurs: no ranking can be measured")
    if np.isin(c.y_prob, (0.0, 1.0)).all():
        notes.append(
            "every probability is 0 or 1, as of decisions: a ranking of them has one threshold only"
        )
    tied = int(((c.y_prob == c.y_prob.max(1, keepdims=True)).sum(1) > 1).sum())
    if tied:
        notes.append(
            f"{counted(tied, 'case has', 'cases have')} a tie for the highest probability: "
            "the first class counts"
        )
    impossible = int((c.y_prob[np.arange(len(c.y_true)), c.y_true] <= 0).sum())
    if impossible:
        notes.append(
            f"{counted(impossible, 'case has', 'cases have')} probability 0 for the true "
            "class: nll uses 2.2e-16"
        )
    return tuple(notes)
