from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions

OURS = "image_id,label,prob_mel,prob_nv\na,mel,0.75,0.25\nb,nv,0.5,0.5\n"


def read(folder: Path, text: str) -> tuple[Predictions, tuple[str, ...]]:
    path = folder / "p.csv"
    path.write_text(text, encoding="utf-8")
    return read_any(path)


def test_our_own_columns_are_read_as_they_are(tmp_path: Path) -> None:
    found, notes = read(tmp_path, OURS)
    assert found.classes == ("mel", "nv")
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("Filename,Truth,p_mel,p_nv\na,mel,0.75,0.25\nb,nv,0.5,0.5\n", ("mel", "nv")),
        ("isic_id;dx;P(mel);P(nv)\na;mel;0,75;0,25\nb;nv;0,5;0,5\n", ("mel", "nv")),
        ("image,diagnosis,MEL,NV\na,melanoma,0.75,0.25\nb,nevus,0.5,0.5\n", ("MEL", "NV")),
        (
            "imageId,y_true,softmax_mel,softmax_nv,loss\na,mel,.75,.25,1\nb,nv,.5,.5,1\n",
            ("mel", "nv"),
        ),
    ],
)
def test_other_software_s_columns(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    found, notes = read(tmp_path, text)
    assert found.classes == classes
    assert found.image_id.tolist() == ["a", "b"]
    assert found.y_true.tolist() == [0, 1]
    assert found.y_prob.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert any("as image_id" in n for n in notes)
    if "loss" in text:
        assert "not used: loss" in notes
    if "melanoma" in text:
        assert "label 'melanoma' read as 'MEL'" in notes


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("id,target,y_score\na,1,0.75\nb,0,0.5\n", ("negative", "positive")),
        ("id,label,malignant\na,1,0.75\nb,0,0.5\n", ("benign", "malignant")),
        ("id,label,score\na,malignant,0.75\nb,benign,0.5\n", ("benign", "malignant")),
    ],
)
def test_one_column_of_two_classes(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    found, notes = read(tmp_path, text)
    assert found.classes == classes
    assert found.y_true.tolist() == [1, 0]
    assert np.allclose(found.y_prob, [[0.25, 0.75], [0.5, 0.5]])
    assert any("1 minus it" in n for n in notes)


def test_patients_and_lesions_are_found(tmp_path: Path) -> None:
    text = "img,Patient,lesion,y,p_mel,p_nv\na,P1,L1,mel,0.75,0.25\nb,P1,L2,nv,0.5,0.5\n"
    found, _ = read(tmp_path, text)
    assert found.groups.tolist() == ["patient:P1", "patient:P1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,dx,p_mel,p_nv\na,mel,0.5,0.5\n", "'image_id' is missing"),
        ("image,dx,left,right\na,mel,0.5,0.5\n", "no column of probabilities"),
        ("image,dx,p_mel,p_nv\na,wart,0.5,0.5\n", "label 'wart' in row 2 is not a class"),
        ("image,dx,p_mel,p_nv\na,mel,0.5,0.6\n", "row 2 .* sum to 1.1"),
        ("image,dx,p_mel,p_nv\na,mel,1.5,0\n", "1.5 in row 2 lies outside"),
        ("id,target,y_score\na,1,0.5\nb,0,0.2\nc,0,x\n", "'x' in row 4 is not a finite number"),
        ("id,target,y_score\na,1,2.5\nb,0,0.2\n", "row 2 lies outside"),
        ("", "empty"),
    ],
)
def test_refusals_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path, text)
    assert "p.csv" in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_any(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("column", "group"),
    [("patient", "patient:p1"), ("Patient_ID", "patient:p1"), ("lesion", "lesion:p1")],
)
def test_our_probabilities_beside_another_name_of_the_group(
    column: str, group: str, tmp_path: Path
) -> None:
    """Else every image would be a group of its own, without a word."""
    path = tmp_path / "p.csv"
    path.write_text(
        f"image_id,{column},label,logit_a,logit_b,prob_a,prob_b\n"
        "i1,p1,a,0,0,0.5,0.5\ni2,p1,b,0,0,0.5,0.5\n"
    )
    found, notes = read_any(path)
    assert list(found.groups) == [group, group]
    assert found.logits is not None
    assert any(f"'{column}' as" in note for note in notes)
    assert not any("not used" in note for note in notes)
