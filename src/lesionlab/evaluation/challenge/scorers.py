"""A challenge's score, assembled: which measure it is ranked by, of which tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.challenge import measures
from lesionlab.evaluation.challenge.formats import FORMATS, Format, Primary, format_of
from lesionlab.evaluation.challenge.medmnist import read_medmnist, score_medmnist
from lesionlab.evaluation.challenge.tables import ScoredSubmission, read_scored

SCHEMA_VERSION = 1
THRESHOLD = 0.5


@dataclass(frozen=True)
class Score:
    """What a challenge says of a submission. Unknown numbers are NaN here, null in JSON.

    `value` is the number that ranks, `metric` its name, `validation` the same under the truth's
    `validation_weight` (None where the challenge has none). `parts` are the further numbers that
    the challenge prints, `per_class` and `macro` the official package's table, `confusion` the
    (2, 2) counts of `positive` at `threshold` (rows truth, columns decision; positive at >=).
    """

    challenge: str
    judge: str
    metric: str
    value: float
    validation: float | None
    n: int
    parts: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    macro: Mapping[str, float] = field(default_factory=dict)
    positive: str = ""
    threshold: float | None = None
    confusion: tuple[tuple[float, float], tuple[float, float]] | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN."""
        known = None if self.validation is None else _null(self.validation)
        return {
            "schema_version": SCHEMA_VERSION,
            "challenge": self.challenge,
            "judge": self.judge,
            "metric": self.metric,
            "value": _null(self.value),
            "validation": known,
            "n": self.n,
            "parts": _nulls(self.parts),
            "per_class": {name: _nulls(row) for name, row in self.per_class.items()},
            "macro": _nulls(self.macro),
            "positive": self.positive,
            "threshold": self.threshold,
            "confusion": self.confusion,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Judged:
    """A score with the columns it was made from, for figures: truth and score are (N, K)."""

    score: Score
    columns: tuple[str, ...]
    truth: npt.NDArray[np.bool_]
    values: Floats


def judge(challenge: str, truth: Path, prediction: Path, threshold: float | None = None) -> Judged:
    """Score a submission against a truth, both files in the challenge's own form.

    `threshold` moves the confusion matrix of the malignant class (0.5; positive at >=), never an
    official number. Raises `BadInput` for whatever the challenge's judge refuses.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise BadInput(f"threshold {threshold:g} lies outside [0, 1]")
    if challenge == "medmnist":
        return _judge_medmnist(truth, prediction, threshold)
    form = format_of(challenge)
    return judge_table(form, read_scored(form, truth, prediction), threshold)


def judge_table(form: Format, table: ScoredSubmission, threshold: float | None = None) -> Judged:
    """Like `judge`, from tables that have been read."""
    if not table.weight.any():
        raise BadInput("no image of the truth has weight", remedy="see its column score_weight")
    truth = table.truth == 1
    per_class = {
        name: measures.category(truth[:, k], table.score[:, k], table.weight)
        for k, name in enumerate(table.columns)
    }
    absent = [n for k, n in enumerate(table.columns) if not table.weight[truth[:, k]].any()]
    value = _primary(form, table, table.weight)
    if math.isnan(value):
        raise BadInput(
            f"{form.primary} is undefined: the truth of {form.name} needs images of both kinds",
            remedy="check the truth file",
        )
    at = THRESHOLD if threshold is None else threshold
    k = table.columns.index(form.malignant)
    (tn, fp), (fn, tp) = measures.confusion_at(truth[:, k], table.score[:, k], at).tolist()
    score = Score(
        form.name,
        form.judge,
        form.primary,
        value,
        _primary(form, table, table.validation_weight) if form.of_isic else None,
        len(table.image_id),
        _parts(form, table, per_class),
        per_class if form.of_isic else {},
        _macro(per_class) if form.of_isic else {},
        form.malignant,
        at,
        ((tn, fp), (fn, tp)),
        (*table.notes, *_absence_notes(form, absent), *_tie_note(form, table)),
    )
    return Judged(score, table.columns, truth, table.score)


def _primary(form: Format, table: ScoredSubmission, weight: Floats) -> float:
    """The ranking number under these weights; over several columns the mean."""
    if form.primary == "balanced_accuracy":
        return measures.balanced_accuracy(table.truth, table.score, weight)
    metric = _METRICS[form.primary]
    each = [metric(t, s, weight) for t, s in zip(table.truth.T, table.score.T, strict=True)]
    return float(np.mean(each))


_METRICS: dict[Primary, Callable[[Floats, Floats, Floats], float]] = {
    "roc_auc": lambda t, s, w: metrics.roc_auc(t, s, w),
    "average_precision": lambda t, s, w: metrics.average_precision(t, s, w),
    "partial_auc_80": lambda t, s, w: metrics.partial_auc(t, s, 0.8, w),
}


def _parts(
    form: Format, table: ScoredSubmission, per_class: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The further numbers that the challenge prints, under its own names."""
    areas = {name: row["auc"] for name, row in per_class.items()}
    if form.name == "udacity":
        first, second = areas.values()
        return {"category_1": first, "category_2": second, "category_3": (first + second) / 2}
    if form.name == "isic2017":
        return {f"roc_auc_{name}": value for name, value in areas.items()}
    if form.primary == "balanced_accuracy":
        # Ties between entries of 2018 and 2019 are broken by the mean AUC.
        return {"roc_auc_macro": _mean_known(list(areas.values()))}
    other: Primary = "average_precision" if form.primary == "roc_auc" else "roc_auc"
    return {other: _METRICS[other](table.truth[:, 0], table.score[:, 0], table.weight)}


def _macro(per_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    names = next(iter(per_class.values()))
    return {name: _mean_known([row[name] for row in per_class.values()]) for name in names}


def _mean_known(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _absence_notes(form: Format, absent: list[str]) -> list[str]:
    if not absent:
        return []
    names = ", ".join(absent)
    return [
        f"no image of the truth with weight is {names}: left out of every mean over classes "
        "(the official program stops with a traceback)"
    ]


def _tie_note(form: Format, table: ScoredSubmission) -> list[str]:
    if form.primary != "balanced_accuracy":
        return []
    best = table.score.max(axis=1, keepdims=True)
    tied = int(((table.score == best).sum(axis=1) > 1).sum())
    return [f"{tied} image(s) tie for the highest score: counted as wrong"] if tied else []


def _judge_medmnist(truth: Path, prediction: Path, threshold: float | None) -> Judged:
    if threshold is not None:
        raise BadInput("MedMNIST fixes its threshold at > 0.5", remedy="leave --threshold out")
    table = read_medmnist(truth, prediction)
    auc, accuracy, notes = score_medmnist(table)
    score = Score(
        "medmnist",
        "MedMNIST",
        "roc_auc",
        auc,
        None,
        len(table.truth),
        {"accuracy": accuracy},
        notes=notes,
    )
    return Judged(score, table.names, table.columns_truth, table.columns_score)


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nulls(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _null(value) for name, value in values.items()}


__all__ = ["FORMATS", "Judged", "Score", "judge", "judge_table"]
