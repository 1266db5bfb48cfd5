from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.columns import Roles, class_in, class_of_lone, roles_of
from lesionlab.evaluation.table_reading import TableReading

HERE = Path("p.csv")


def roles(text: str, **how: object) -> Roles:
    rows = [line.split(",") for line in text.split("\n")]
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    return roles_of(table, TableReading(**how), HERE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "image", "label", "answer", "scores"),
    [
        ("img,dx,p_mel,p_nv\na,mel,.1,.9", "img", "dx", None, ["p_mel", "p_nv"]),
        ("fname,target,pred,mel,nv\na,mel,nv,.1,.9", "fname", "target", "pred", ["mel", "nv"]),
        ("id,label,y_pred,proba_0,proba_1\na,1,1,.1,.9", "id", "label", "y_pred",
         ["proba_0", "proba_1"]),
        # ages and an answer that is numbered are no scores; a fractional target is no label
        ("id,target,age,MEL,NV\na,.5,50,.1,.9", "id", None, None, ["MEL", "NV"]),
        ("id,dx,pred_class,conf_mel,conf_nv\na,mel,1,.1,.9", "id", "dx", "pred_class",
         ["conf_mel", "conf_nv"]),
        ("id,dx,p_value,p_max,p_mel,p_nv\na,mel,.01,.9,.1,.9", "id", "dx", None,
         ["p_mel", "p_nv"]),
        ("id,y_true,Probability (mel),Probability (nv)\na,mel,.1,.9", "id", "y_true", None,
         ["Probability (mel)", "Probability (nv)"]),
    ],
)  # fmt: skip
def test_roles_by_name_and_value(
    text: str, image: str, label: str | None, answer: str | None, scores: list[str]
) -> None:
    found = roles(text)
    assert (found.image_id, found.label, found.answer) == (image, label, answer)
    assert list(found.scores) == scores
    assert found.lone is None


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("p_melanoma", "melanoma"), ("prob_melanoma", "melanoma"), ("melanoma", "melanoma"),
        ("P(mel)", "mel"), ("malignancy", "malignant"), ("melanoma_probability", "melanoma"),
        ("score", ""), ("y_prob", ""), ("logit_mel", "mel"), ("prediction", ""),
    ],
)  # fmt: skip
def test_a_lone_column(column: str, named: str) -> None:
    found = roles(f"id,dx,{column}\na,mel,.1\nb,nv,.7")
    assert found.lone == (column, named)
    assert found.scores == {}
    assert class_of_lone(column) == named


def test_what_the_user_names_goes_first() -> None:
    text = "id,name,dx,histology,p_mel,p_nv\n1,a,nv,mel,.1,.9"
    found = roles(text, id_column="name", label_column="histology", score_column="p_nv")
    assert (found.image_id, found.label, found.lone) == ("name", "histology", ("p_nv", "nv"))
    assert roles(text, score_column="p_nv", positive="mel").lone == ("p_nv", "mel")
    # a column that another table has is recognised here
    assert roles(text, label_column="elsewhere").label == "dx"


def test_two_scores_without_a_class_are_nobody_s() -> None:
    found = roles("id,dx,score,prob\na,mel,.1,.2\nb,nv,.5,.3")
    assert found.lone is None
    assert found.scores == {}


def test_without_an_id_the_command_names_the_likeliest_column() -> None:
    with pytest.raises(BadInput, match=r"lesionlab evaluate p\.csv --id-column scan"):
        roles("dx,scan,p_mel,p_nv\nmel,a,.1,.9\nmel,b,.1,.9")


def test_class_in_a_name() -> None:
    assert [class_in(c) for c in ("p_mel", "pred_label", "size_p", "y_prob", "nv_score")] == [
        "mel", "", "", "", "nv",
    ]  # fmt: skip
