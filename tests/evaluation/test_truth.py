from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.truth import join_truth


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def predictions() -> Predictions:
    ids = np.array(["a.jpg", "b.jpg", "c.jpg"], object)
    none = np.array([""] * 3, object)
    prob = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    return Predictions(ids, none, none, ("mel", "nv"), np.full(3, -1, np.int64), prob)


def test_rows_are_matched_by_id_in_any_order(predictions: Predictions, tmp_path: Path) -> None:
    text = "image_id,label,lesion_id\nc,mel,L2\na,nv,L1\nb,,L1\n"
    joined = join_truth(predictions, table(tmp_path, text))
    assert joined.y_true.tolist() == [1, -1, 0]
    assert joined.lesion_id.tolist() == ["L1", "L1", "L2"]
    assert joined.image_id.tolist() == ["a.jpg", "b.jpg", "c.jpg"]


def test_one_column_a_class_is_read_too(predictions: Predictions, tmp_path: Path) -> None:
    text = "\ufeffimage,mel,nv\na,1.0,0.0\nb,0,1\nc,0,1\n"
    assert join_truth(predictions, table(tmp_path, text)).y_true.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,label\na,nv\nb,nv\n", "1 predicted image has no row, the first is 'c'"),
        ("image_id,label\na,nv\nb,nv\nc,nv\nd,nv\n", "1 row has no prediction.*'d'"),
        ("image_id,label\na,nv\na.jpg,nv\nb,nv\nc,nv\n", "'a' is repeated"),
        ("image_id,label\na,nv\nb,nevus\nc,nv\n", "'nevus' in row 3 is not a class"),
        ("name,label\na,nv\n", "column 'image_id' is missing"),
        ("image_id,mel\na,1\nb,1\nc,0\n", "neither a column 'label' nor a column 'nv'"),
        ("image_id,mel,nv\na,1,0\nb,1,1\nc,0,1\n", "row 3 does not mark exactly one"),
        ("image_id,mel,nv\na,1,0\nb,yes,0\nc,0,1\n", "row 3 does not mark exactly one"),
        ("image_id,label\n", "no rows"),
    ],
)
def test_what_does_not_fit_is_named(
    predictions: Predictions, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        join_truth(predictions, table(tmp_path, text))


def test_an_absent_file_is_named(predictions: Predictions, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        join_truth(predictions, tmp_path / "none.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        join_truth(predictions, tmp_path)


def test_a_contradiction_is_no_choice_of_ours(predictions: Predictions, tmp_path: Path) -> None:
    known = Predictions(
        predictions.image_id, predictions.patient_id, predictions.lesion_id, predictions.classes,
        np.array([0, 1, 1]), predictions.y_prob,
    )  # fmt: skip
    path = table(tmp_path, "image_id,label\na,nv\nb,nv\nc,nv\n")
    with pytest.raises(BadInput, match=r"'a\.jpg' is 'nv' here and 'mel' in the predictions"):
        join_truth(known, path)
