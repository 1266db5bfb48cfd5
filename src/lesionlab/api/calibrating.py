"""A second table of predictions: the data on which a map or a threshold is chosen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from lesionlab.errors import BadInput
from lesionlab.evaluation.calibrators import fit_calibrator
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions
from lesionlab.run import CONFIG


def read_calibrating(path: Path, measured: Predictions) -> tuple[Predictions, tuple[str, ...]]:
    """The labelled predictions of a calibration table, and how it was read."""
    refuse_opened_test(path)
    found, notes = read_any(path)
    return calibrating_rows(found, measured, str(path)), how_read(path, notes)


def calibrating_rows(found: Predictions, measured: Predictions, where: str) -> Predictions:
    """The labelled rows of data that calibrate, in the classes' order of `measured`.

    Raises `BadInput` where its classes are others, no row has a label, or an image or a group
    (patient, lesion) stands in both tables.
    """
    if set(found.classes) != set(measured.classes):
        raise BadInput(
            f"its classes are {', '.join(found.classes)}, not {', '.join(measured.classes)}",
            where=where,
        )
    kept = found.take(np.flatnonzero(found.y_true >= 0))
    if not len(kept):
        raise BadInput("no row has a label", where=where, remedy="add a column 'label'")
    for what, ours, theirs in (
        ("image", measured.image_id, kept.image_id),
        ("group", measured.groups, kept.groups),
    ):
        both = sorted(set(ours) & set(theirs))
        if both:
            raise BadInput(
                f"{len(both)} {what}(s) are in both tables, the first is '{both[0]}'",
                where=where,
                remedy="calibrate on patients that are not evaluated",
            )
    order = [kept.classes.index(c) for c in measured.classes]
    names = np.array(kept.classes, dtype=object)[kept.y_true]
    y_true = np.array([measured.classes.index(n) for n in names], np.int64)
    return dataclasses.replace(
        kept, classes=measured.classes, y_true=y_true, y_prob=kept.y_prob[:, order], logits=None
    )


def how_read(path: Path, notes: tuple[str, ...]) -> tuple[str, ...]:
    """One note for all that was said on reading a table."""
    plain = [n.removeprefix(f"{path}: ") for n in notes]
    return (f"{path.name}: {'; '.join(plain)}",) if plain else ()


def refuse_opened_test(path: Path) -> None:
    """`BadInput` where nothing may be chosen on a table: it is the test part of a run."""
    if path.name == "predictions-test.csv" and (path.parent / CONFIG).is_file():
        raise BadInput(
            "nothing may be chosen on the test split",
            where=str(path),
            remedy="choose on predictions-valid.csv",
        )


def recalibrated(
    measured: Predictions, calibrating: Predictions, method: str | None
) -> tuple[Predictions, Predictions, tuple[str, ...]]:
    """Both tables' probabilities by a map that was fitted on the second; and a note on it."""
    if method is None:
        return measured, calibrating, ()
    fitted = fit_calibrator(method, calibrating.y_prob, calibrating.y_true)
    both = [
        dataclasses.replace(p, y_prob=fitted.apply(p.y_prob), logits=None)
        for p in (measured, calibrating)
    ]
    note = f"probabilities recalibrated ({method}) on {len(calibrating)} images of --calib"
    return both[0], both[1], (note,)
