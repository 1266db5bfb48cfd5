"""Numbers that look like a mistake in the table: swapped columns or classes, the answer as truth.

A finding is a question, not a verdict: it is said beside the numbers, which stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from lesionlab.array_types import Floats
from lesionlab.evaluation.predictions import Predictions

SWAPPED = "are columns or classes swapped?"
CLEARLY = 2.5  # standard errors between two assignments: chance among a few cases is no finding
LEAST_ROWS = 20  # of fewer, all right is no wonder


def doubts(evaluation: Mapping[str, Any], read: Predictions | None = None) -> tuple[str, ...]:
    """What in the JSON twin of an evaluation asks whether the table was understood.

    `read` are the rows of a table whose labels were in it, not in another one.
    """
    counts = np.array(evaluation["confusion"]["counts"], np.float64)
    found = [*_below_chance(evaluation), *_assignment(counts, evaluation["classes"])]
    return (*found, *([] if read is None else _answer_as_truth(read)))


def _below_chance(evaluation: Mapping[str, Any]) -> list[str]:
    named = {"the AUC": evaluation["metrics"]["roc_auc"]}
    malignant = evaluation["malignant_v_benign"]
    if malignant is not None and len(evaluation["classes"]) > 2:
        named["the AUC of malignant against benign"] = malignant["roc_auc"]
    return [
        f"the whole interval of {name} ({m['low']:.3f} to {m['high']:.3f}) lies below 0.5: "
        f"{SWAPPED}"
        for name, m in named.items()
        if m["high"] is not None and m["high"] < 0.5
    ]


def _assignment(counts: Floats, classes: Sequence[str]) -> list[str]:
    """Another assignment of the columns to the classes that gives twice the accuracy."""
    rows, columns = linear_sum_assignment(counts, maximize=True)
    total, right = counts.sum(), float(np.trace(counts))
    best = float(counts[rows, columns].sum())
    if total == 0 or best < 2 * right or best - right < CLEARLY * math.sqrt(best + right):
        return []
    moved = [
        f"'{classes[c]}' as '{classes[r]}'" for r, c in zip(rows, columns, strict=True) if r != c
    ]
    return [
        f"another assignment of the class columns ({', '.join(moved)}) gives accuracy "
        f"{best / total:.3f} instead of {right / total:.3f}: {SWAPPED}"
    ]


def _answer_as_truth(read: Predictions) -> list[str]:
    """Labels that are the most probable class in every row may be the model's answers."""
    known = read.labelled()
    if len(known) < LEAST_ROWS or (known.y_prob.argmax(axis=1) != known.y_true).any():
        return []
    if len(np.unique(known.y_true)) < 2 or np.isin(known.y_prob, (0, 1)).all():
        return []
    return [
        "the label is the most probable class in every row: is it the model's answer? "
        "Then give the truth in another table (--truth)"
    ]
