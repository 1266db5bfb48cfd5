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
from lesionlab.evaluation.table_reading import NOTHING_SAID, TableReading


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
    kept, _ = read_calibrating(path, MEASURED, NOTHING_SAID)
    assert len(kept) == 90
    opened = tmp_path / "predictions-test.csv"
    write_predictions(opened, elsewhere())
    refuse_opened_test(opened)  # a table of that name alone is not the test part of a run
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="nothing may be chosen on the test split"):
        read_calibrating(opened, MEASURED, NOTHING_SAID)


def test_one_note_says_how_it_was_read() -> None:
    path = Path("folder/t.csv")
    assert how_read(path, ()) == ()
    assert how_read(path, (f"{path}: comma", "x")) == ("t.csv: comma; x",)


IDS = np.array(["a.jpg", "b.jpg"], object)
NONE = np.array(["", ""], object)
SPELLED = Predictions(
    IDS, NONE, NONE, ("MEL", "NV"), np.array([0, 1]), np.array([[0.7, 0.3], [0.2, 0.8]])
)


def calibrating(folder: Path, text: str, how: TableReading = NOTHING_SAID) -> Predictions:
    path = folder / "valid.csv"
    path.write_text(text)
    return read_calibrating(path, SPELLED, how)[0]


def test_classes_by_other_words_in_another_order(tmp_path: Path) -> None:
    found = calibrating(tmp_path, "id,dx,nevus,melanoma\nc,nevus,.6,.4\nd,melanoma,.1,.9\n")
    assert found.classes == ("MEL", "NV")
    assert found.y_true.tolist() == [1, 0]
    assert found.y_prob.tolist() == [[0.4, 0.6], [0.9, 0.1]]


def test_it_is_read_as_the_measured_table_is(tmp_path: Path) -> None:
    text = "id,dx,p_mel,p_nv\nc,nv,-1,2\nd,mel,2,-1\n"
    found = calibrating(tmp_path, text, TableReading(logits=True, truth=Path("t.csv")))
    assert found.y_prob.argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize("spelled", ["a", "A.JPG", "x/a.png"])
def test_an_image_of_both_is_found_however_it_is_spelled(tmp_path: Path, spelled: str) -> None:
    with pytest.raises(BadInput, match=r"1 image\(s\) are in both tables"):
        calibrating(tmp_path, f"id,dx,p_mel,p_nv\n{spelled},mel,.6,.4\nd,nv,.1,.9\n")
