from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.foreign import ReadTable
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.table_reading import TableReading
from lesionlab.evaluation.truth import join_truth


def joined(predictions: Predictions, truth: Path, **how: object) -> Predictions:
    return join(predictions, truth, **how).predictions


def join(predictions: Predictions, truth: Path, **how: object) -> ReadTable:
    reading = TableReading(truth=truth, **how)  # type: ignore[arg-type]
    return join_truth(ReadTable(predictions), Path("p.csv"), reading)


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
    found = joined(predictions, table(tmp_path, text))
    assert found.y_true.tolist() == [1, -1, 0]
    assert found.lesion_id.tolist() == ["L1", "L1", "L2"]
    assert found.image_id.tolist() == ["a.jpg", "b.jpg", "c.jpg"]


def test_one_column_a_class_is_read_too(predictions: Predictions, tmp_path: Path) -> None:
    text = "\ufeffimage,mel,nv\na,1.0,0.0\nb,0,1\nc,0,1\n"
    assert joined(predictions, table(tmp_path, text)).y_true.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,label\na,nv\nb,nv\n", "1 predicted image has no row, the first is 'c.jpg'"),
        ("image_id,label\na,nv\nb,nv\nc,nv\nd,nv\n", "1 row has no prediction.*'d'"),
        ("image_id,label\na,nv\na.jpg,nv\nb,nv\nc,nv\n", "'a.jpg' is repeated .as 'a'"),
        ("image_id,label\na,nv\nb,bcc\nc,nv\n", "'bcc' in row 3 is not a class"),
        ("name,label\na,nv\n", "column 'image_id' is missing.*--id-column name"),
        ("image_id,name,dx\n1,a,nv\n2,b,nv\n3,c,nv\n", "3 are in column 'name'.*--id-column name"),
        ("image_id,finding\na,nv\nb,nv\nc,nv\n", "--label-column finding"),
        ("image_id,dx\nx/a,nv\ny/a,nv\nb,nv\nc,mel\n", "'a.jpg', which could be 'x/a' or 'y/a'"),
        ("image_id,label\na,0\nb,7\nc,1\n", "'0' in row 2|'7' in row 3"),
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
        joined(predictions, table(tmp_path, text))


def test_an_absent_file_is_named(predictions: Predictions, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        joined(predictions, tmp_path / "none.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        joined(predictions, tmp_path)


def test_a_contradiction_is_no_choice_of_ours(predictions: Predictions, tmp_path: Path) -> None:
    known = Predictions(
        predictions.image_id, predictions.patient_id, predictions.lesion_id, predictions.classes,
        np.array([0, 1, 1]), predictions.y_prob,
    )  # fmt: skip
    path = table(tmp_path, "image_id,label\na,nv\nb,nv\nc,nv\n")
    with pytest.raises(BadInput, match=r"'a\.jpg' is 'nv' here and 'mel' in the predictions"):
        joined(known, path)


@pytest.mark.parametrize(
    "text",
    [
        "isic_id,dx\nimages/A.PNG,nevus\nB,melanoma\n C ,nevus\n",
        "image_name;target\na;0\nb;1\nc;0.0\n",
        "image_name,age,target\na,50,benign\nb,60,malignant\nc,,benign\n",
        # `diagnosis` has words that are no class; the column after it is read
        "image_name,benign_malignant,diagnosis\na,benign,unknown\nb,malignant,mel\nc,benign,x\n",
        "image,malignant\na,0\nb,1.0\nc,0\n",
        "image,MEL,NV,BKL\na,0,1,0\nb,1,0,0\nc,0,0,1\n",
    ],
)
def test_words_marks_and_spellings_of_a_truth(text: str, tmp_path: Path) -> None:
    ids, none = np.array(["a.jpg", "b.jpg", "c.jpg"], object), np.array([""] * 3, object)
    prob, unknown = np.full((3, 2), 0.5), np.full(3, -1, np.int64)
    for classes in (("benign", "malignant"), ("negative", "positive")):
        predictions = Predictions(ids, none, none, classes, unknown, prob)
        assert joined(predictions, table(tmp_path, text)).y_true.tolist() == [0, 1, 0]


def test_what_was_understood_is_said(predictions: Predictions, tmp_path: Path) -> None:
    text = "isic_id,Patient ID,dx\nx/a.png,P1,nevus\nx/b.png,P1,nv\nx/c.png,P2,melanoma\n"
    found = join(predictions, table(tmp_path, text))
    assert found.mapping == ("truth: truth.csv:dx", "patient: truth.csv:Patient ID")
    assert found.predictions.groups.tolist() == ["patient:P1", "patient:P1", "patient:P2"]
    assert any("3 ids matched without regard to file suffix and folder" in n for n in found.notes)
    assert "label 'melanoma' read as 'mel'" in found.notes


def test_a_named_column_is_taken(predictions: Predictions, tmp_path: Path) -> None:
    path = table(tmp_path, "nr,name,label,histology\n1,a,nv,mel\n2,b,nv,nv\n3,c,nv,mel\n")
    found = joined(predictions, path, id_column="name", label_column="histology")
    assert found.y_true.tolist() == [0, 1, 0]


def test_only_what_matches_is_measured_where_that_is_asked_for(
    predictions: Predictions, tmp_path: Path
) -> None:
    more = table(tmp_path, "image_id,label\na,nv\nb,nv\nc,mel\nd,nv\n")
    with pytest.raises(BadInput, match=r"lesionlab evaluate p\.csv --truth .* --matching-only"):
        join(predictions, more)
    found = join(predictions, more, matching_only=True)
    assert len(found.predictions) == 3
    assert "1 row has no prediction (left out)" in found.notes
    fewer = table(tmp_path, "image_id,label\na,nv\nc,mel\n")
    found = join(predictions, fewer, matching_only=True)
    assert found.predictions.image_id.tolist() == ["a.jpg", "c.jpg"]
    assert "1 predicted image has no truth (left out)" in found.notes
    with pytest.raises(BadInput, match="3 predicted images have no row"):
        join(predictions, table(tmp_path, "image_id,label\nx,nv\n"), matching_only=True)
