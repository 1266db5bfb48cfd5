"""The unit of evaluation: images as they come, or joined by lesion or by patient."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.predictions import Predictions

Unit = Literal["image", "lesion", "patient"]
AGGREGATION = {
    "image": "each image is one case",
    "lesion": "each lesion is one case: the mean of its images' probabilities; an image without "
    "lesion_id is a case of its own",
    "patient": "each patient is one case: the image with the highest malignant score speaks for "
    "the patient; the patient is malignant if any image is; an image without patient_id counts "
    "by its lesion, else by itself",
}


def to_unit(predictions: Predictions, unit: Unit, malignant: tuple[str, ...]) -> Predictions:
    """The predictions with one row a unit, `image_id` then naming the unit.

    Raises `BadInput` where the unit's ids are absent altogether, where the images of a lesion
    carry different labels, or for "patient" without malignant classes.
    """
    if unit == "image":
        return predictions
    if unit not in AGGREGATION:
        raise BadInput(f"no unit '{unit}'", remedy=f"known: {', '.join(AGGREGATION)}")
    _require_ids(predictions, unit)
    if unit == "patient" and not malignant:
        raise BadInput(
            "the unit 'patient' needs to know which classes are malignant",
            remedy="name them, or use the unit 'lesion'",
        )
    keys = _lesion_keys(predictions) if unit == "lesion" else predictions.groups
    codes, count = group_codes(keys)
    first = np.unique(codes, return_index=True)[1]
    joined = _by_lesion if unit == "lesion" else _by_patient
    y_true, y_prob = joined(predictions, codes, count, first, malignant)
    names = np.array([str(keys[row]).split(":", 1)[1] for row in first], dtype=object)
    return dataclasses.replace(
        predictions.take(first), image_id=names, y_true=y_true, y_prob=y_prob, logits=None
    )


def _require_ids(predictions: Predictions, unit: str) -> None:
    ids = predictions.lesion_id if unit == "lesion" else predictions.patient_id
    if (ids == "").all():
        raise BadInput(
            f"no row has a {unit}_id", where=f"unit '{unit}'", remedy="use the unit 'image'"
        )


def _lesion_keys(p: Predictions) -> np.ndarray:
    """A lesion's name may repeat across patients: the key holds both."""
    keys = [
        f"lesion:{patient}/{lesion}"
        if patient and lesion
        else f"lesion:{lesion}"
        if lesion
        else f"image:{image}"
        for patient, lesion, image in zip(p.patient_id, p.lesion_id, p.image_id, strict=True)
    ]
    return np.array(keys, dtype=object)


def _by_lesion(
    p: Predictions, codes: Ints, count: int, first: Ints, malignant: tuple[str, ...]
) -> tuple[Ints, Floats]:
    size = np.bincount(codes, minlength=count)
    columns = [np.bincount(codes, p.y_prob[:, k], count) / size for k in range(len(p.classes))]
    lowest, highest = np.full(count, len(p.classes)), np.full(count, -1)
    known = p.is_labelled
    np.minimum.at(lowest, codes[known], p.y_true[known])
    np.maximum.at(highest, codes[known], p.y_true[known])
    mixed = np.flatnonzero((highest >= 0) & (lowest != highest))
    if len(mixed):
        name = p.lesion_id[first[mixed[0]]]
        labels = f"'{p.classes[lowest[mixed[0]]]}' and '{p.classes[highest[mixed[0]]]}'"
        raise BadInput(
            f"lesion '{name}' carries the labels {labels}",
            remedy="correct the labels, or use the unit 'image'",
        )
    return highest.astype(np.int64), np.stack(columns, axis=1)


def _by_patient(
    p: Predictions, codes: Ints, count: int, first: Ints, malignant: tuple[str, ...]
) -> tuple[Ints, Floats]:
    mask = np.isin(np.array(p.classes, dtype=object), list(malignant))
    score = score_of(p.y_prob, p.classes, malignant)
    order = np.lexsort((-score, codes))
    speaks = order[np.unique(codes[order], return_index=True)[1]]
    votes = np.zeros((count, len(p.classes)))
    known = p.is_labelled
    np.add.at(votes, (codes[known], p.y_true[known]), 1)
    labelled = votes.sum(1) > 0
    # A malignant label outweighs any number of benign ones.
    label = np.where(votes > 0, votes + mask * (len(p) + 1), -1).argmax(1)
    return np.where(labelled, label, -1).astype(np.int64), p.y_prob[speaks]
