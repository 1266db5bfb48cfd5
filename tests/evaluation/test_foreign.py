from __future__ import annotations

import math
import shlex
from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.foreign import ReadTable, read_any
from lesionlab.evaluation.table_reading import TableReading

OURS = "image_id,label,prob_mel,prob_nv\na,mel,0.75,0.25\nb,nv,0.5,0.5\n"


def read(folder: Path, text: str, **how: object) -> ReadTable:
    path = folder / "p.csv"
    path.write_text(text, encoding="utf-8")
    return read_any(path, TableReading(**how))  # type: ignore[arg-type]


def test_our_own_columns_are_read_as_they_are(tmp_path: Path) -> None:
    found = read(tmp_path, OURS)
    assert found.predictions.classes == ("mel", "nv")
    assert found.notes == ()
    assert found.mapping == (
        "image: image_id", "truth: label", "probability of mel: prob_mel",
        "probability of nv: prob_nv",
    )  # fmt: skip


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
        ("file_path,gt,mel_prob,nv_prob\na,mel,.75,.25\nb,nv,.5,.5\n", ("mel", "nv")),
        ("img,label,prob of mel,prob of nv\na,mel,.75,.25\nb,nv,.5,.5\n", ("mel", "nv")),
        # words that the taxonomy does not know, but that are the labels
        ("img,label,rash,wart x\na,rash,.75,.25\nb,wart x,.5,.5\n", ("rash", "wart x")),
        # the answer is not the truth, and no class either
        ("img,dx,pred,pred_class,p_mel,p_nv\na,mel,nv,1,.75,.25\nb,nv,nv,1,.5,.5\n", ("mel", "nv")),
        ("img,dx,p_mel,p_nv\na,mel,7.5e-1,25%\nb,nv,0.5,50 %\n", ("mel", "nv")),
        # two classes, marked by 0 and 1: malignant is 1
        ("img,target,p_mel,p_nv\na,1,.75,.25\nb,0,.5,.5\n", ("mel", "nv")),
    ],
)
def test_other_software_s_columns(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    read_as = read(tmp_path, text)
    found, notes = read_as.predictions, read_as.notes
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
        ("id,label,malignant\na,melanoma,0.75\nb,nevus,0.5\n", ("benign", "malignant")),
        ("id,dx,score\na,malignant,0.75\nb,benign,0.5\n", ("benign", "malignant")),
        ("id,label,p_melanoma\na,melanoma,0.75\nb,nevus,0.5\n", ("nevus", "melanoma")),
        ("id,label,prob_melanoma\na,1,0.75\nb,0,0.5\n", ("non-melanoma", "melanoma")),
        ("id,label,melanoma\na,mel,0.75\nb,nv,0.5\n", ("nv", "melanoma")),
        ("id,label,p_bcc\na,bcc,0.75\nb,0,0.5\n", ("not bcc", "bcc")),
        ("id,label,pred,p_mel\na,mel,nv,0.75\nb,nv,nv,0.5\n", ("nv", "mel")),
    ],
)
def test_one_column_of_two_classes(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    read_as = read(tmp_path, text.replace("b,0,0.5", "b,0,0.5") if "bcc" not in text else
                   "id,label,p_bcc\na,bcc,0.75\nb,nv,0.5\nc,mel,0.5\n")  # fmt: skip
    found, notes = read_as.predictions, read_as.notes
    assert found.classes == classes
    assert found.y_true.tolist()[:2] == [1, 0]
    assert np.allclose(found.y_prob[:2], [[0.25, 0.75], [0.5, 0.5]])
    assert any("1 minus it" in n for n in notes)
    assert f"probability of {classes[1]}: {text.split(chr(10))[0].split(',')[-1]}" in (
        read_as.mapping
    )


def test_one_class_against_all_others_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "id,label,p_mel\na,mel,0.9\nb,nv,0.1\nc,bkl,0.2\nd,melanoma,0.3\n")
    assert found.predictions.classes == ("not mel", "mel")
    assert found.predictions.y_true.tolist() == [1, 0, 0, 1]
    assert "labels bkl, nv read as 'not mel'" in found.notes
    with pytest.raises(BadInput, match="'melanom' in row 4 is not a class"):
        read(tmp_path, "id,label,p_mel\na,mel,0.9\nb,nv,0.1\nc,melanom,0.2\n")


def test_patients_and_lesions_are_found(tmp_path: Path) -> None:
    text = "img,Patient,lesion,y,p_mel,p_nv\na,P1,L1,mel,0.75,0.25\nb,P1,L2,nv,0.5,0.5\n"
    found = read(tmp_path, text)
    assert found.predictions.groups.tolist() == ["patient:P1", "patient:P1"]
    assert "patient: Patient" in found.mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,dx,p_mel,p_nv\na,mel,0.5,0.5\n", "'image_id' is missing.*--id-column picture"),
        ("image,dx,left,right\na,mel,0.5,0.5\n", "no column of probabilities"),
        ("image,dx,p_mel,p_nv\na,wart x,0.5,0.5\n", "label 'wart x' in row 2 is not a class"),
        ("image,dx,p_mel,p_nv\na,mel,0.5,0.6\n", "row 2 sum to 1.1"),
        ("image,dx,p_mel,p_nv\na,mel,1.5,0\n", "1.5 in row 2 lies outside.*--logits"),
        ("image,dx,p_mel,p_nv\na,mel,1.5,-0.5\n", "-0.5 in row 2 lies outside|1.5 in row 2"),
        ("image,dx,p_mel,prob_mel\na,mel,0.5,0.5\n", "two columns are of class 'mel'"),
        ("id,target,y_score\na,1,0.5\nb,0,0.2\nc,0,x\n", "'x' in row 4 is not a finite number"),
        ("id,target,y_score\na,1,2.5\nb,0,0.2\n", "row 2 lies outside"),
        ("id,dx,score\na,nv,0.5\nb,df,0.2\n", "of which class is 'score'.*--positive nv"),
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
    found = read(
        tmp_path,
        f"image_id,{column},label,logit_a,logit_b,prob_a,prob_b\n"
        "i1,p1,a,0,0,0.5,0.5\ni2,p1,b,0,0,0.5,0.5\n",
    )
    assert list(found.predictions.groups) == [group, group]
    assert found.predictions.logits is not None
    assert any(f"'{column}' as" in note for note in found.notes)
    assert not any("not used" in note for note in found.notes)


@pytest.mark.parametrize(
    "names", ["0,1,2", "class_0,class_1,class_2", "p0,p1,p2", "output_1,output_2,output_3"]
)
def test_numbered_columns_in_the_order_that_is_named(tmp_path: Path, names: str) -> None:
    text = f"filename,label,{names}\na,nv,.1,.2,.7\nb,bcc,.8,.1,.1\nc,mel,.1,.8,.1\n"
    with pytest.raises(BadInput, match=r"only numbered.*--classes bcc,mel,nv"):
        read(tmp_path, text)
    found = read(tmp_path, text, classes=("bcc", "mel", "nv")).predictions
    assert found.classes == ("bcc", "mel", "nv")
    assert found.y_true.tolist() == [2, 0, 1]
    first = int(names[-1]) - 2  # labels are numbered as the columns are
    by_number = text.replace("nv", f"{first + 2}").replace("bcc", f"{first}.0")
    by_number = by_number.replace("mel", f"{first + 1}")
    numbered = read(tmp_path, by_number, classes=("bcc", "mel", "nv")).predictions
    assert numbered.y_true.tolist() == [2, 0, 1]


def test_ten_numbered_columns_in_any_order(tmp_path: Path) -> None:
    header = ",".join(f"class_{k}" for k in (9, 0, 8, 1, 7, 2, 6, 3, 5, 4))
    text = f"id,dx,{header}\na,mel,1,0,0,0,0,0,0,0,0,0\n"
    classes = ("nv", "bcc", "akiec", "bkl", "df", "vasc", "scc", "ka", "dn", "mel")
    found = read(tmp_path, text, classes=classes).predictions
    assert found.classes[int(found.y_prob[0].argmax())] == "mel"


def test_numbered_labels_beside_named_columns_need_an_order(tmp_path: Path) -> None:
    text = "id,label,p_mel,p_nv,p_bkl\na,2,.1,.2,.7\nb,0,.8,.1,.1\n"
    with pytest.raises(BadInput, match=r"only numbers.*--classes mel,nv,bkl"):
        read(tmp_path, text)
    found = read(tmp_path, text, classes=("bkl", "mel", "nv")).predictions
    assert [found.classes[k] for k in found.y_true] == ["nv", "bkl"]


def test_lists_in_a_cell_are_columns(tmp_path: Path) -> None:
    text = 'id,label,probs\na,1,"[0.25, 0.75]"\nb,0,"[0.5 0.5]"\n'
    found = read(tmp_path, text).predictions
    assert found.y_prob.tolist() == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize(
    "header", ["logit_mel,logit_nv", "mel,nv", "score_mel,score_nv", "mel_logit,nv_logit"]
)
def test_logits_get_a_softmax_and_a_note(tmp_path: Path, header: str) -> None:
    found = read(tmp_path, f"id,dx,{header}\na,mel,2.0,-1.0\nb,nv,-3,0.5\n")
    assert np.allclose(
        found.predictions.y_prob[:, 0], [1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3.5))]
    )
    assert "the numbers are logits: a softmax made them probabilities" in found.notes
    assert any(m.startswith("logit of mel") for m in found.mapping)


def test_logits_that_are_called_probabilities_are_refused_until_it_is_said(tmp_path: Path) -> None:
    text = "id,dx,p_mel,p_nv\na,mel,2.0,-1.0\nb,nv,-3,0.5\n"
    with pytest.raises(BadInput, match=r"if these are logits: lesionlab evaluate .* --logits"):
        read(tmp_path, text)
    found = read(tmp_path, text, logits=True).predictions
    assert found.y_prob.argmax(axis=1).tolist() == [0, 1]
    with pytest.raises(BadInput, match="these are probabilities, not logits"):
        read(tmp_path, OURS, logits=True)


def test_a_single_logit_gets_a_sigmoid(tmp_path: Path) -> None:
    text = "id,dx,{}\na,mel,2.0\nb,nv,-3\n"
    for column, how in (("logit_mel", {}), ("p_mel", {"logits": True})):
        found = read(tmp_path, text.format(column), **how).predictions
        assert found.classes == ("nv", "mel")
        assert np.allclose(found.y_prob[:, 1], [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))])
    with pytest.raises(BadInput, match="--logits"):
        read(tmp_path, text.format("p_mel"))


def test_rounded_rows_are_divided_by_their_sums_with_one_note(tmp_path: Path) -> None:
    found = read(tmp_path, "id,dx,p_mel,p_nv,p_bkl\na,mel,0.34,0.33,0.34\nb,nv,0,1e-8,1.00\n")
    assert np.allclose(found.predictions.y_prob.sum(axis=1), 1, atol=1e-7)
    assert sum("rounding" in n for n in found.notes) == 1
    half = np.random.default_rng(0).dirichlet(np.ones(9), 50).astype(np.float16)
    rows = "\n".join(f"i{k},mel," + ",".join(map(str, row)) for k, row in enumerate(half))
    header = "id,dx,p_mel,p_nv,p_bcc,p_bkl,p_df,p_vasc,p_ak,p_scc,p_sk"
    assert len(read(tmp_path, f"{header}\n{rows}\n").predictions) == 50
    with pytest.raises(BadInput, match=r"sum to 1\.04"):
        read(tmp_path, "id,dx,p_mel,p_nv\na,mel,0.5400,0.5000\n")


def test_per_cent(tmp_path: Path) -> None:
    found = read(tmp_path, "id,dx,p_mel,p_nv\na,mel,75,25\nb,nv,50.0,50.0\n")
    assert found.predictions.y_prob.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert any("per cent" in n for n in found.notes)


def test_the_command_of_a_refusal_is_accepted(tmp_path: Path) -> None:
    """One class against the rest, of scores that are no distribution."""
    text = "id,dx,p_mel,p_nv\na,mel,0.9,0.8\nb,nv,0.2,0.7\n"
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    words = shlex.split(str(caught.value).split("against the rest: ")[1])
    assert words[3:] == ["--score-column", "p_mel"]
    found = read(tmp_path, text, score_column="p_mel").predictions
    assert found.classes == ("nv", "mel")
    assert found.y_prob[:, 1].tolist() == [0.9, 0.2]


def test_answers_of_a_hugging_face_pipeline_in_one_cell(tmp_path: Path) -> None:
    cell = "[{{'label': '{}', 'score': {}}}, {{'label': '{}', 'score': {}}}]"
    rows = [cell.format("mel", 0.75, "nv", 0.25), cell.format("nv", 0.9, "mel", 0.1)]
    text = "".join(
        f'{k},{dx},"{row}"\n' for k, dx, row in zip("ab", ("mel", "nv"), rows, strict=True)
    )
    found = read(tmp_path, f"id,dx,output\n{text}").predictions
    assert found.classes == ("mel", "nv")
    assert found.y_prob.tolist() == [[0.75, 0.25], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("id,dx,0,1,2\na,mel,.1,.2,.7\n", {"classes": ("mel", "nv")}, "--classes names mel, nv"),
        ("id,dx,p_mel,p_nv\na,mel,.3,.7\n", {"classes": ("mel", "bcc")}, "are of mel, nv"),
        ("id,dx,a,b\ni,1,.3,.7\nj,0,.3,.7\n", {}, "no column of probabilities"),
        ("id,dx,p_a,p_b\ni,1,.3,.7\nj,0,.3,.7\n", {}, r"which class is 1: .*--positive b"),
        ("id,dx,pred\na,mel,nv\n", {}, r"'pred' holds answers only.*save the probability"),
        ("id,dx,pred\na,mel,nv\n", {"score_column": "pred"}, "'pred' holds no numbers"),
    ],
)
def test_what_was_named_has_to_fit(
    tmp_path: Path, text: str, how: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read(tmp_path, text, **how)


def test_the_positive_class_says_what_1_means(tmp_path: Path) -> None:
    text = "id,dx,p_a,p_b\ni,1,.3,.7\nj,0,.3,.7\n"
    assert read(tmp_path, text, positive="b").predictions.y_true.tolist() == [1, 0]
    assert read(tmp_path, text, positive="a").predictions.y_true.tolist() == [0, 1]
    answers = "id,y_true,y_pred,y_prob\na,1,1,.7\nb,0,0,.2\n"
    found = read(tmp_path, answers)
    assert found.predictions.classes == ("negative", "positive")
    assert found.predictions.y_true.tolist() == [1, 0]
    assert found.mapping[-1] == "probability of positive: y_prob"


def test_1_is_malignant_whichever_probability_the_column_holds(tmp_path: Path) -> None:
    for column, p in (("p_benign", ".25"), ("p_malignant", ".75")):
        found = read(tmp_path, f"id,target,{column}\na,1,{p}\nb,0,.5\n").predictions
        assert [found.classes[k] for k in found.y_true] == ["malignant", "benign"]
        assert found.y_prob[0, found.classes.index("malignant")] == 0.75
    with pytest.raises(BadInput, match="say which class is 1"):  # not the nevus?
        read(tmp_path, "id,target,p_nv\na,1,.75\nb,0,.5\n")


def test_one_class_beside_all_others(tmp_path: Path) -> None:
    found = read(tmp_path, "id,dx,non_melanoma,melanoma\na,mel,.2,.8\nb,nv,.9,.1\nc,bcc,.9,.1\n")
    assert found.predictions.y_true.tolist() == [1, 0, 0]
    assert found.rest == "non_melanoma"


def test_answers_beside_all_probabilities_are_passed_over_where_a_truth_is_given(
    tmp_path: Path,
) -> None:
    rows = "".join(
        f"i{k},{('mel', 'nv')[k % 2]},{(0.9, 0.2)[k % 2]},{(0.1, 0.8)[k % 2]}\n" for k in range(20)
    )
    text = f"id,label,p_mel,p_nv\n{rows}"
    assert read(tmp_path, text).predictions.is_labelled.all()
    found = read(tmp_path, text, truth=Path("truth.csv"))
    assert not found.predictions.is_labelled.any()
    assert any("the model's answer, not used" in note for note in found.notes)
