"""Prediction sets of what is evaluated: calibrated elsewhere, measured here."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from lesionlab.api.subject import Subject
from lesionlab.errors import BadInput
from lesionlab.evaluation.conformal import fit_conformal, measure_sets
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.units import Unit, to_unit

DEFAULT = "lac"


def sets_of(
    subject: Subject,
    method: str | None,
    alpha: float,
    rare: Literal["refuse", "include"],
    unit: Unit,
    seed: int,
) -> dict[str, Any] | None:
    """Achieved coverage and sizes of conformal sets, by class; None where there is nothing to say.

    They are calibrated on validation (or the calibration part) and measured on another part;
    without one there are none. What calibration refuses (too few lesions of a class) is raised
    where `method` was asked for, else given as `{"refused": why}`; with `rare="include"` such a
    class is in every set.
    """
    if method == "none":
        return None
    if subject.chooser is None or subject.chooser[0] == subject.part:
        if method is None:
            return None
        raise BadInput(
            f"sets cannot be evaluated on the data that calibrate them ('{subject.part}')",
            where="--sets",
            remedy="evaluate another split of the run; for a table give --calib other.csv",
        )
    name, calibrating = subject.chooser
    try:
        rule = fit_conformal(
            _units(calibrating, unit, subject.malignant),
            calibrated_on=name, method=method or DEFAULT, alpha=alpha, seed=seed, rare=rare,
        )  # fmt: skip
    except BadInput as error:
        if method is not None:
            raise
        return {"calibrated_on": name, "refused": str(error)}
    found = measure_sets(rule, _units(subject.predictions, unit, subject.malignant))
    return {"calibrated_on": name} | found


def _units(predictions: Predictions, unit: Unit, malignant: tuple[str, ...]) -> Predictions:
    return to_unit(predictions.take(np.flatnonzero(predictions.y_true >= 0)), unit, malignant)
