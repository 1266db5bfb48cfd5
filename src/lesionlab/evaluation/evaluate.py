"""From a predictions table to every number of the report, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation import metrics
from lesionlab.evaluation.bootstrap import RESAMPLING, Resampling, group_codes
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.headline import MALIGNANT, headline, malignant_v_benign, per_class
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.sections import (
    CalibrationResult,
    ConfusionTable,
    PointResult,
    calibration_section,
    class_counts,
    confusion_section,
    curves_section,
    decision_section,
    decisions_section,
    notes_section,
    operating_point_section,
)
from lesionlab.evaluation.units import Unit, to_unit

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one predictions table; `to_json` is `metrics.json`.

    See docs/evaluation.md for each field.
    """

    n: int
    unlabelled: int
    unit: str
    resampled: str
    groups: int
    resamples: int
    seed: int
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    positive: str | None
    class_counts: dict[str, dict[str, int]]
    prevalence: dict[str, float]
    prior: dict[str, float] | None
    majority_class: str
    metrics: dict[str, Measure]
    per_class: dict[str, dict[str, Measure]]
    malignant_v_benign: dict[str, Measure] | None
    confusion: ConfusionTable
    confusion_prior_corrected: ConfusionTable | None
    operating_points: list[PointResult]
    calibration: CalibrationResult
    decision_curve: dict[str, Any] | None
    curves: dict[str, Any]
    undefined_replicates: dict[str, int]
    decisions: dict[str, str]
    notes: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinity have become null."""
        result = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        return {"schema_version": result.pop("schema_version"), **result}


def plain(value: Any) -> Any:
    """JSON values of measures, arrays, tuples and mappings; NaN becomes None."""
    if isinstance(value, Measure):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def evaluate_predictions(
    predictions: Predictions,
    *,
    malignant: tuple[str, ...] = (),
    prior: Floats | None = None,
    operating_points: Sequence[OperatingPoint] = (),
    unit: Unit = "image",
    ordered: bool = False,
    prevalences: Sequence[float] = (),
    resampling: Resampling = RESAMPLING,
) -> Evaluation:
    """Measure a predictions table.

    `malignant` names the classes whose probabilities are summed. `prior (K,)` is the prevalence
    at which the probabilities hold; with it, the prior-corrected decision is measured too.
    `ordered`: the classes are grades, in the order of `predictions.classes`.
    `operating_points` are applied unchanged. `prevalences`: further ones for PPV and NPV.
    Raises `BadInput` without a labelled row, with fewer than two classes, or where a malignant
    class is unknown.
    """
    _check(predictions, malignant, prior)
    _check_numbers(resampling.resamples, prevalences)
    known = predictions.labelled()
    data = to_unit(known, unit, malignant)
    cases = cases_of(data, malignant, prior, ordered)
    m = measure_cases(
        cases,
        resamples=resampling.resamples,
        seed=resampling.seed,
        progress=resampling.progress,
    )
    counts = class_counts(cases)
    share = {c: counts[c]["images"] / len(data) for c in data.classes}
    corrected = cases.y_pred_corrected
    positive = _positive(data.classes, malignant)
    named = None if prior is None else dict(zip(data.classes, map(float, prior), strict=True))
    return Evaluation(
        n=len(data),
        unlabelled=len(predictions) - len(known),
        unit=unit,
        resampled=data.group_unit,
        groups=cases.n_groups,
        resamples=resampling.resamples,
        seed=resampling.seed,
        classes=data.classes,
        malignant=malignant,
        positive=positive,
        class_counts=counts,
        prevalence=share,
        prior=named,
        majority_class=max(share, key=lambda c: share[c]),
        metrics=headline(m, positive),
        per_class=per_class(m),
        malignant_v_benign=malignant_v_benign(m, malignant) if malignant else None,
        confusion=confusion_section(cases, cases.y_pred),
        confusion_prior_corrected=(
            None if corrected is None else confusion_section(cases, corrected)
        ),
        operating_points=[
            operating_point_section(p, data, m, prevalences) for p in operating_points
        ],
        calibration=calibration_section(cases),
        decision_curve=decision_section(cases),
        curves=curves_section(m),
        undefined_replicates=m.undefined,
        decisions=decisions_section(unit, malignant, named, data.classes if ordered else ()),
        notes=notes_section(len(predictions) - len(known), cases),
    )


def _check(predictions: Predictions, malignant: tuple[str, ...], prior: Floats | None) -> None:
    unknown = [c for c in malignant if c not in predictions.classes]
    if unknown:
        raise BadInput(
            f"malignant class '{unknown[0]}' is not predicted",
            remedy=nearest(unknown[0], predictions.classes),
        )
    if len(predictions.classes) < 2:
        raise BadInput("fewer than two classes are predicted", remedy="add a prob_<class> column")
    if set(malignant) == set(predictions.classes):
        raise BadInput("all classes are malignant", remedy="leave the benign ones out")
    if MALIGNANT in predictions.classes and malignant not in ((), (MALIGNANT,)):
        raise BadInput(
            f"a class is called '{MALIGNANT}', and others are malignant too",
            remedy="give the class another name",
        )
    if not (predictions.is_labelled).any():
        raise BadInput("no row has a label", remedy="add a column 'label', or give the truth")
    if prior is not None and (len(prior) != len(predictions.classes) or not np.all(prior >= 0)):
        raise BadInput("the prior does not fit the classes", where="evaluate")


def _check_numbers(resamples: int, prevalences: Sequence[float]) -> None:
    if resamples < 20:
        raise BadInput(f"{resamples} resamples are too few", remedy="use 2000")
    odd = [p for p in prevalences if not 0 < p < 1]
    if odd:
        raise BadInput(f"prevalence {odd[0]:g} lies outside (0, 1)", remedy="write 0.02 for 2 %")


def _positive(classes: tuple[str, ...], malignant: tuple[str, ...]) -> str | None:
    """For two classes: the malignant one, else the second."""
    if len(classes) != 2:
        return None
    return malignant[0] if malignant else classes[1]


def cases_of(
    data: Predictions, malignant: tuple[str, ...], prior: Floats | None, ordered: bool = False
) -> Cases:
    """What is measured of labelled predictions: decisions, groups and scores."""
    codes, n_groups = group_codes(data.groups)
    scores: dict[str, tuple[npt.NDArray[np.bool_], Floats]] = {
        name: (data.y_true == k, data.y_prob[:, k]) for k, name in enumerate(data.classes)
    }
    if malignant:
        mask = np.isin(np.array(data.classes, dtype=object), list(malignant))
        scores[MALIGNANT] = (mask[data.y_true], score_of(data.y_prob, data.classes, malignant))
    positive = _positive(data.classes, malignant)
    full = {name for name in (MALIGNANT if malignant else None, positive) if name}
    return Cases(
        classes=data.classes,
        y_true=data.y_true,
        y_prob=data.y_prob,
        y_pred=metrics.decide(data.y_prob),
        y_pred_corrected=None if prior is None else metrics.decide(data.y_prob, prior),
        codes=codes,
        n_groups=n_groups,
        scores={name: s for name, s in scores.items() if s[0].any() and not s[0].all()},
        full=frozenset(full),
        ordered=ordered,
    )
