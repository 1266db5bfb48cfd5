"""The table that calibrates: the classes in one order, and no case that is measured too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.two_models import THREE, predictions
from lesionlab.errors import BadInput
from lesionlab.evaluation.calibration_table import (
    calibrating_rows,
    how_read,
    read_calibrating,
    refuse_opened_test,
)
from lesionlab.evaluation.predictions import Predictions, write_predictions


def elsewhere(n: int = 90, seed: int = 5) -> Predictions:
    """Other images of other patients."""
    found = predictions(THREE, 1.0, seed, n, 30)
    ids = np.array([f"other-{i}" for i in found.image_id], object)
    owners = np.array([f"other-{p}" for p in found.patient_id], object)
    return replace(found, image_id=ids, patient_id=owners)


MEASURED = predictions(THREE, 1.0, 1, 120, 40)


def test_classes_are_turned_into_the_measured_order() -> None:
    found = elsewhere()
    order = [2, 0, 1]
    turned = replace(
        found,
        classes=tuple(THREE[k] for k in order),
        y_prob=found.y_prob[:, order],
        y_true=np.array([order.index(k) for k in found.y_true]),
    )
    kept, notes = calibrating_rows(turned, MEASURED, "t.csv")
    assert kept.classes == THREE
    assert np.array_equal(kept.y_true, found.y_true)
    assert np.array_equal(kept.y_prob, found.y_prob)
    assert notes == ()


def test_rows_without_label_are_left_out() -> None:
    found = elsewhere()
    y_true = found.y_true.copy()
    y_true[:10] = -1
    kept, _ = calibrating_rows(replace(found, y_true=y_true), MEASURED, "t.csv")
    assert len(kept) == len(found) - 10


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda p: replace(p, classes=("mel", "nv", "df")), "its classes are mel, nv, df"),
        (lambda p: replace(p, y_true=np.full(len(p), -1)), "no row has a label"),
        (
            lambda p: replace(p, image_id=np.array(["i3", *p.image_id[1:]], object)),
            r"1 image\(s\) are in both tables|1 image is in both tables",
        ),
        (
            lambda p: replace(p, patient_id=np.array(["p3", *p.patient_id[1:]], object)),
            "group.* in both tables, the first is 'patient:p3'",
        ),
    ],
)
def test_refusals(change: object, shown: str) -> None:
    with pytest.raises(BadInput, match=shown):
        calibrating_rows(change(elsewhere()), MEASURED, "t.csv")  # type: ignore[operator]


def test_the_same_rows_by_other_names_are_refused() -> None:
    ids = np.array([f"copy-{i}" for i in MEASURED.image_id], object)
    owners = np.array([f"copy-{p}" for p in MEASURED.patient_id], object)
    copied = replace(MEASURED, image_id=ids, patient_id=owners)
    with pytest.raises(BadInput, match="it holds the rows that are measured"):
        calibrating_rows(copied, MEASURED, "t.csv")


def test_a_table_is_read_from_a_file_and_the_test_part_of_a_run_is_not(tmp_path: Path) -> None:
    path = tmp_path / "calib.csv"
    write_predictions(path, elsewhere())
    kept, _ = read_calibrating(path, MEASURED)
    assert len(kept) == 90
    opened = tmp_path / "predictions-test.csv"
    write_predictions(opened, elsewhere())
    refuse_opened_test(opened)  # a table of that name alone is not the test part of a run
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="nothing may be chosen on the test split"):
        read_calibrating(opened, MEASURED)


def test_one_note_says_how_it_was_read() -> None:
    path = Path("folder/t.csv")
    assert how_read(path, ()) == ()
    assert how_read(path, (f"{path}: comma", "x")) == ("t.csv: comma; x",)
