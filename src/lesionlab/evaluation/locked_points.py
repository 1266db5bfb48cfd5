"""The locked points that an evaluation applies: read, chosen where that is allowed, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionlab import files
from lesionlab.data import ledger
from lesionlab.errors import BadInput
from lesionlab.evaluation.operating_point import (
    OperatingPoint,
    choose_operating_point,
    default_operating_point,
)
from lesionlab.evaluation.policies import DEFAULT_POLICY
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.units import Unit, to_unit
from lesionlab.run_folder import OPERATING_POINTS

SCHEMA_VERSION = 1


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


def stored_points(folder: Path) -> list[OperatingPoint] | None:
    """The points that are locked in a run folder; None where none was stored yet."""
    path = folder / OPERATING_POINTS
    if not path.is_file():
        return None
    return [OperatingPoint.from_json(p) for p in files.read_json(path)["points"]]


def store_points(folder: Path, points: Sequence[OperatingPoint]) -> None:
    """Lock points in a run folder."""
    stored = {"schema_version": SCHEMA_VERSION, "points": [p.to_json() for p in points]}
    files.write_json(folder / OPERATING_POINTS, stored)


def operating_points(
    subject: Subject, choice: Choice, unit: Unit = "image"
) -> tuple[list[OperatingPoint], str]:
    """The locked points to apply, and why there is none where there is none.

    A run decides by image, so its point is chosen on images; a table's on the unit that is
    measured. A run's stored points are read; without any, the default one is chosen on validation
    and stored by the caller. Raises `BadInput` for a choice on test, and for any choice of the
    user's own once a test access of this run is recorded (`ledger.has_seen_test`).
    """
    if not subject.malignant:
        if choice.asked:
            raise BadInput(
                "an operating point needs the malignant classes",
                remedy=f"name them: {subject.wording('malignant')}",
            )
        return [], ""
    if subject.run is None:
        subject = _by_unit(subject, unit)
    if choice.threshold is not None and subject.run is None:
        return [_choose(subject, subject.predictions, "fixed", choice.threshold, subject.part)], ""
    if choice.asked:
        _refuse_choice(subject)
        return [_chosen(subject, choice)], ""
    stored = None if subject.run is None else stored_points(subject.run.folder)
    if stored is not None:
        return stored, ""
    if subject.chooser is None or (subject.run is None and subject.chooser[0] == subject.part):
        return [], ""
    name, choosing = subject.chooser
    point, refusal = default_operating_point(
        choosing, score=subject.malignant, chosen_on=name, prior=_named_prior(subject)
    )
    if point is None:
        return [], str(BadInput(refusal, remedy=subject.advice))
    return [point], ""


def _by_unit(subject: Subject, unit: Unit) -> Subject:
    def joined(p: Predictions) -> Predictions:
        return to_unit(p.labelled(), unit, subject.malignant)

    chooser = subject.chooser and (subject.chooser[0], joined(subject.chooser[1]))
    return dataclasses.replace(subject, predictions=joined(subject.predictions), chooser=chooser)


def _refuse_choice(subject: Subject) -> None:
    if subject.chooser is None or (subject.run and subject.part not in ("valid", "calib")):
        raise BadInput(
            f"an operating point may be chosen on validation data, not on '{subject.part}'",
            where=subject.wording("policy"),
            remedy=_where_to_choose(subject),
        )
    if subject.run is None:
        return
    folder = None if subject.dataset is None else subject.dataset.folder
    if ledger.has_seen_test(subject.run.folder, folder):
        raise BadInput(
            "this run has accessed the test set, so its operating point is locked",
            where=str(subject.run.folder),
            remedy="train a new run to choose another",
        )


def _where_to_choose(subject: Subject) -> str:
    said = subject.wording
    if subject.run is not None:
        return f"choose it without {said('split', 'test')}; it is stored and applied unchanged"
    return (
        f"say {said('split', 'valid')} if these are validation predictions, or give "
        f"{said('calib')} or {said('threshold')}"
    )


def _chosen(subject: Subject, choice: Choice) -> OperatingPoint:
    assert subject.chooser is not None
    name, choosing = subject.chooser
    policy = choice.policy or (DEFAULT_POLICY if choice.threshold is None else "fixed")
    target = choice.target if choice.threshold is None else choice.threshold
    try:
        return _choose(subject, choosing, policy, target, name)
    except BadInput as error:
        raise BadInput(str(error), remedy=subject.advice) from None


def _choose(
    subject: Subject, predictions: Predictions, policy: str, target: float | None, on: str
) -> OperatingPoint:
    return choose_operating_point(
        predictions, score=subject.malignant, chosen_on=on, policy=policy, target=target,
        prior=_named_prior(subject),
    )  # fmt: skip


def _named_prior(subject: Subject) -> dict[str, float] | None:
    if subject.prior is None:
        return None
    return dict(zip(subject.predictions.classes, subject.prior.tolist(), strict=True))
