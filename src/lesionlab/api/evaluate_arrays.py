"""`lesionlab.evaluate(y_true=..., y_prob=...)`: labels and probabilities in arrays."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from lesionlab.api._inputs import report_content
from lesionlab.api.array_options import check_options, shares
from lesionlab.array_types import Floats
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.arrays import Array, text
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.calibration_table import calibrating_rows
from lesionlab.evaluation.conformal import SetOptions, sets_of
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.from_arrays import (
    FromArrays,
    Groups,
    Label,
    predictions_from_arrays,
)
from lesionlab.evaluation.locked_points import Choice, operating_points
from lesionlab.evaluation.plausibility import doubts
from lesionlab.evaluation.policies import DEFAULT_ALPHA
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.recalibration import recalibrated
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.units import Unit
from lesionlab.evaluation.wording import argument
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.array_evaluation import ArrayEvaluation

Part = Literal["valid", "test", "train", "calib"]
Prior = Mapping[str, float] | Sequence[float] | np.ndarray


class _Calibrating(TypedDict):
    y_true: Array
    y_prob: Array


class CalibratingArrays(_Calibrating, total=False):
    """Other cases, on which a threshold, a map of the probabilities or sets are fitted."""

    groups: Groups
    image_ids: Array


def evaluate_arrays(
    *,
    y_true: Array,
    y_prob: Array,
    classes: Sequence[Label] | None = None,
    groups: Groups | None = None,
    positive: Label | Sequence[Label] | None = None,
    image_ids: Array | None = None,
    prior: Prior | None = None,
    split: Part | None = None,
    unit: Unit = "image",
    ordered: bool = False,
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    calib: CalibratingArrays | None = None,
    calibration: str | None = None,
    sets: str | None = None,
    alpha: float = DEFAULT_ALPHA,
    rare: Literal["refuse", "include"] = "refuse",
    prevalences: Sequence[float] = (),
    title: str = "arrays",
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> ArrayEvaluation:
    """Measure arrays as the command measures a predictions table; `evaluate` has the arguments."""
    check_options(
        split=split, unit=unit, ordered=ordered, policy=policy, target=target,
        threshold=threshold, calib=calib, calibration=calibration, sets=sets, alpha=alpha,
        rare=rare, prevalences=prevalences,
        title=title, resamples=resamples, seed=seed, progress=progress,
    )  # fmt: skip
    read = predictions_from_arrays(
        y_true, y_prob, classes=classes, groups=groups, positive=positive, image_ids=image_ids
    )
    subject = _subject(read, split, prior, title)
    subject = _with_calibrating(subject, calib, calibration)
    points, refusal = operating_points(subject, Choice(policy, target, threshold), unit)
    found = evaluate_predictions(
        subject.predictions, malignant=subject.malignant, prior=subject.prior,
        operating_points=points, unit=unit, ordered=ordered, prevalences=prevalences,
        resampling=Resampling(resamples, seed, progress),
    )  # fmt: skip
    conformal = sets_of(subject, SetOptions(sets, alpha, rare), unit, seed)
    twin = {**found.to_json(), "conformal": conformal}
    content = report_content(
        subject, [(subject.part, subject.predictions, twin)], None, False, refusal
    )
    asked = doubts(found.to_json())
    notes = (*((refusal,) if refusal else ()), *asked, *subject.notes, *found.notes)
    # Nothing lies beside a page that is not written yet.
    return ArrayEvaluation(found, conformal, notes, dataclasses.replace(content, explanations=()))


def _subject(read: FromArrays, split: Part | None, prior: Prior | None, title: str) -> Subject:
    p = read.predictions
    return Subject(
        title=title,
        part=split or "predictions",
        predictions=p,
        out=Path(),
        malignant=read.positive,
        prior=None if prior is None else _prior(prior, p.classes),
        chooser=(split, p) if split in ("valid", "calib") else None,
        provenance={"predictions": "arrays", "predictions_sha256": digest(p)},
        notes=read.notes,
        wording=argument,
    )


def _prior(prior: Prior, classes: tuple[str, ...]) -> Floats:
    """(K,) in the order of the classes; it has to sum to 1."""
    if isinstance(prior, Mapping):
        named = {text(k): v for k, v in prior.items()}
        odd = sorted(set(named) ^ set(classes))
        if odd:
            what = f"class '{odd[0]}' has none" if odd[0] in classes else f"no class '{odd[0]}'"
            raise BadInput(what, where="prior", remedy=nearest(odd[0], classes))
        prior = [named[c] for c in classes]
    remedy = "give one per class, in the order of classes or by name"
    values = shares("prior", prior, remedy)
    if values.shape != (len(classes),) or not (values > 0).all() or abs(values.sum() - 1) > 1e-3:
        raise BadInput(
            f"{len(classes)} positive proportions that sum to 1 are needed",
            where="prior",
            remedy=remedy,
        )
    return np.asarray(values / values.sum())


def _with_calibrating(
    subject: Subject, calib: CalibratingArrays | None, calibration: str | None
) -> Subject:
    """The subject with the data on which thresholds are chosen and sets calibrated."""
    if calib is None:
        if calibration is not None:
            raise BadInput(
                "a calibration must not be fitted on the data that are evaluated",
                where="calibration",
                remedy="give them: calib={'y_true': ..., 'y_prob': ..., 'groups': ...}",
            )
        return subject
    read = _other(calib, subject)
    other, notes = calibrating_rows(read.predictions, subject.predictions, "calib")
    found = recalibrated(
        subject.predictions, other, calibration, argument("calib"), argument("calibration")
    )
    return dataclasses.replace(
        subject,
        predictions=found.measured,
        chooser=("calib", found.choosing),
        advice=found.advice,
        provenance=subject.provenance | {"calib": digest(other)},
        notes=(*subject.notes, *(f"calib: {note}" for note in read.notes), *notes, *found.notes),
    )


def _other(calib: CalibratingArrays, subject: Subject) -> FromArrays:
    known = (*CalibratingArrays.__required_keys__, *CalibratingArrays.__optional_keys__)
    unknown = sorted(str(name) for name in set(calib) - set(known))
    missing = sorted(CalibratingArrays.__required_keys__ - set(calib))
    if unknown or missing:
        what = f"'{missing[0]}' is missing" if missing else f"no array '{unknown[0]}'"
        raise BadInput(what, where="calib", remedy=f"known: {', '.join(sorted(known))}")
    try:
        return predictions_from_arrays(
            **calib,
            classes=subject.predictions.classes,
            positive=subject.malignant or None,
            prefix="calib:",
        )
    except BadInput as error:
        raise BadInput(str(error), where="calib") from None


def digest(p: Predictions) -> str:
    """SHA-256 of the classes, labels, probabilities and groups of predictions."""
    found = hashlib.sha256("\0".join((*p.classes, *map(str, p.groups))).encode())
    found.update(p.y_true.tobytes())
    found.update(np.ascontiguousarray(p.y_prob).tobytes())
    return found.hexdigest()
