"""Which images to show: the largest losses, the surest errors by class, and random correct ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Ints
from lesionlab.data.randomness import philox
from lesionlab.evaluation.metrics import nll_per_case
from lesionlab.evaluation.predictions import Predictions

LOSSES, BY_CLASS, CORRECT = 12, 4, 12


@dataclass(frozen=True)
class GalleryCase:
    """One image of the gallery. `row` counts in the predictions; `loss` is -log p(true).

    `file` is the name that the image came with, `path` our copy in the dataset folder.
    """

    row: int
    image_id: str
    file: str
    path: str
    patient_id: str
    lesion_id: str
    true: str
    predicted: str
    loss: float
    prob_true: float
    prob_predicted: float


@dataclass(frozen=True)
class Gallery:
    """Cases by what they are shown for; `confident` is by the predicted class."""

    losses: tuple[GalleryCase, ...]
    confident: dict[str, tuple[GalleryCase, ...]]
    correct: tuple[GalleryCase, ...]

    @property
    def rows(self) -> Ints:
        """(n,) rows of all cases, each once, in the order of first appearance."""
        shown = [*self.losses, *(c for cases in self.confident.values() for c in cases)]
        return np.array(list(dict.fromkeys(c.row for c in [*shown, *self.correct])), np.int64)


def gallery(
    predictions: Predictions, files: Sequence[str], paths: Sequence[str], seed: int = 0
) -> Gallery:
    """Choose the cases. `files` and `paths`, of length N, are the images' (see `GalleryCase`).

    Errors and losses show each patient (lesion, image) once, so that one odd patient does not
    fill the page. Images of unknown truth are left out.
    """
    known = np.flatnonzero(predictions.is_labelled)
    y_true, y_prob = predictions.y_true[known], predictions.y_prob[known]
    loss = nll_per_case(y_true, y_prob)
    called = y_prob.argmax(1)
    groups = predictions.groups[known]

    def cases(chosen: Ints) -> tuple[GalleryCase, ...]:
        rows = [(int(known[i]), float(loss[i])) for i in chosen]
        return tuple(_case(predictions, files[r], paths[r], r, value) for r, value in rows)

    wrong = called != y_true
    confident = {}
    for k, name in enumerate(predictions.classes):
        rows = np.flatnonzero(wrong & (called == k))
        surest = rows[np.argsort(-y_prob[rows, k], kind="stable")]
        if len(surest):
            confident[name] = cases(once(surest, groups)[:BY_CLASS])
    right = np.flatnonzero(~wrong)
    drawn = once(right[philox(seed, "gallery").permutation(len(right))], groups)[:CORRECT]
    worst = once(np.argsort(-loss, kind="stable"), groups)[:LOSSES]
    return Gallery(cases(worst), confident, cases(np.sort(drawn)))


def once(rows: Ints, groups: npt.NDArray[np.object_]) -> Ints:
    """`rows` in order, without those of a group that was there before."""
    first: dict[object, int] = {}
    for row in rows:
        first.setdefault(groups[row], int(row))
    return np.array(list(first.values()), np.int64)


def _case(predictions: Predictions, file: str, path: str, row: int, loss: float) -> GalleryCase:
    p, true = predictions.y_prob[row], int(predictions.y_true[row])
    called = int(p.argmax())
    return GalleryCase(
        row=row,
        image_id=str(predictions.image_id[row]),
        file=file,
        path=path,
        patient_id=str(predictions.patient_id[row]),
        lesion_id=str(predictions.lesion_id[row]),
        true=predictions.classes[true],
        predicted=predictions.classes[called],
        loss=loss,
        prob_true=float(p[true]),
        prob_predicted=float(p[called]),
    )
