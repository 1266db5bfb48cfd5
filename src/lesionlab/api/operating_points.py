"""The locked points that an evaluation applies: read, chosen where that is allowed, or refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab import files
from lesionlab.api.subject import Subject
from lesionlab.errors import BadInput
from lesionlab.evaluation.operating_point import OperatingPoint, choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.units import Unit, to_unit
from lesionlab.run import OPERATING_POINTS


@dataclass(frozen=True)
class Choice:
    """How the operating point is to be chosen: by a policy with its target, or a threshold."""

    policy: str | None = None
    target: float | None = None
    threshold: float | None = None
    elsewhere: bool = False  # on the calibration part instead of validation

    @property
    def asked(self) -> bool:
        """Whether the user asked for a point of their own."""
        given = (self.policy, self.target, self.threshold)
        return self.elsewhere or any(value is not None for value in given)


def operating_points(
    subject: Subject, choice: Choice, unit: Unit = "image"
) -> tuple[list[OperatingPoint], str]:
    """The locked points to apply, and why there is none where there is none.

    A run decides by image, so its point is chosen on images; a table's on the unit that is
    measured. A run's stored points are read; without any, one is chosen on validation and
    stored by the caller. Raises `BadInput` for a choice on test, or once test has been opened
    with this run.
    """
    if not subject.malignant:
        if choice.asked:
            raise BadInput(
                "an operating point needs the malignant classes",
                remedy="name them: --malignant a,b",
            )
        return [], ""
    stored = None if subject.run is None else subject.run.folder / OPERATING_POINTS
    if subject.run is None:
        subject = _by_unit(subject, unit)
    if choice.threshold is not None and subject.run is None:
        return [_choose(subject, subject.predictions, "fixed", choice.threshold, subject.part)], ""
    if choice.asked:
        _refuse_choice(subject, stored)
    elif stored is not None and stored.is_file():
        return [OperatingPoint.from_json(p) for p in files.read_json(stored)["points"]], ""
    elif subject.chooser is None or (subject.run is None and subject.chooser[0] == subject.part):
        return [], ""
    return _chosen(subject, choice)


def _by_unit(subject: Subject, unit: Unit) -> Subject:
    def joined(p: Predictions) -> Predictions:
        return to_unit(p.take(np.flatnonzero(p.y_true >= 0)), unit, subject.malignant)

    chooser = subject.chooser and (subject.chooser[0], joined(subject.chooser[1]))
    return dataclasses.replace(subject, predictions=joined(subject.predictions), chooser=chooser)


def _refuse_choice(subject: Subject, stored: Path | None) -> None:
    if subject.chooser is None or (subject.run and subject.part not in ("valid", "calib")):
        raise BadInput(
            f"an operating point may be chosen on validation data, not on '{subject.part}'",
            where="--policy",
            remedy="choose it without --split test; it is stored and applied unchanged"
            if subject.run
            else "give --split valid if these are validation predictions, or --calib valid.csv"
            " or --threshold",
        )
    opened = subject.run and subject.run.metrics_path("test").is_file()
    if opened and stored is not None and stored.is_file():
        raise BadInput(
            "this run has accessed the test set, so its operating point is locked",
            where=str(stored),
            remedy="train a new run to choose another",
        )


def _chosen(subject: Subject, choice: Choice) -> tuple[list[OperatingPoint], str]:
    assert subject.chooser is not None
    name, choosing = subject.chooser
    policy = choice.policy or ("fixed" if choice.threshold is not None else "sensitivity_bound")
    target = choice.threshold if choice.threshold is not None else choice.target
    try:
        return [_choose(subject, choosing, policy, target, name)], ""
    except BadInput as error:
        if choice.asked:
            raise
        return [], str(error)  # too few positive groups for the default: the report says so


def _choose(
    subject: Subject, predictions: Predictions, policy: str, target: float | None, on: str
) -> OperatingPoint:
    prior = subject.prior
    named = None if prior is None else dict(zip(predictions.classes, prior.tolist(), strict=True))
    return choose_operating_point(
        predictions, score=subject.malignant, chosen_on=on, policy=policy, target=target,
        prior=named,
    )  # fmt: skip
