"""What the scorers do beyond parity: by hand, in words, and for every challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge import measures
from lesionlab.evaluation.challenge.formats import CHALLENGES, FORMATS
from lesionlab.evaluation.challenge.scorers import Judged, judge


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def udacity(tmp_path: Path) -> tuple[Path, Path]:
    truth = write(tmp_path / "t.csv", "Id,task_1,task_2", "a.jpg,1,0", "b.jpg,0,1", "c.jpg,0,0")
    sub = write(tmp_path / "p.csv", "Id,task_1,task_2", "a.jpg,0.4,0", "b.jpg,0.6,1", "c.jpg,0.1,0")
    return truth, sub


def test_udacity_by_hand(udacity: tuple[Path, Path]) -> None:
    score = judge("udacity", *udacity, threshold=0.4).score
    assert score.parts == {"category_1": 0.5, "category_2": 1.0, "category_3": 0.75}
    assert score.value == 0.75
    assert score.confusion == ((1, 1), (0, 1))  # 0.4 is called positive at >= 0.4
    assert judge("udacity", *udacity).score.confusion == ((1, 1), (1, 0))


def test_udacity_in_another_order_is_paired_by_id_and_said(udacity: tuple[Path, Path]) -> None:
    lines = udacity[1].read_text().splitlines()
    write(udacity[1], lines[0], *reversed(lines[1:]))
    score = judge("udacity", *udacity).score
    assert score.value == 0.75
    assert any("by place" in note for note in score.notes)


@pytest.mark.real
def test_the_udacity_sample(shared: Path) -> None:
    folder = shared / "data" / "udacity-isic2017"
    score = judge("udacity", folder / "ground_truth.csv", folder / "sample_predictions.csv").score
    assert [f"{v:.3f}" for v in score.parts.values()] == ["0.526", "0.606", "0.566"]
    assert score.confusion is not None
    assert sum(score.confusion[1]) == 117  # melanomas among the 600 test images


def test_isic2016_reads_words_and_files_without_header(tmp_path: Path) -> None:
    rows = ["ISIC_1,benign", "ISIC_2,malignant", "ISIC_3,malignant", "ISIC_4,benign"]
    sub = ["ISIC_1,0.5", "ISIC_2,0.9", "ISIC_3,0.4", "ISIC_4,0.1"]
    truth, prediction = write(tmp_path / "t.csv", *rows), write(tmp_path / "p.csv", *sub)
    bare = judge("isic2016", truth, prediction).score
    assert bare.value == pytest.approx((1 + 2 / 3) / 2)
    headed = write(tmp_path / "h.csv", "image,malignant", *sub)
    assert judge("isic2016", truth, headed).score.value == bare.value


def test_isic2017_and_2020_by_hand(tmp_path: Path) -> None:
    truth = write(
        tmp_path / "t.csv", "image_id,melanoma,seborrheic_keratosis",
        "a,1.0,0.0", "b,0.0,1.0", "c,0.0,0.0", "d,1.0,0.0",
    )  # fmt: skip
    sub = write(
        tmp_path / "p.csv", "image_id,melanoma,seborrheic_keratosis",
        "d,0.9,0.1", "a,0.3,0.2", "b,0.5,0.2", "c,0.1,0.0",
    )  # fmt: skip
    score = judge("isic2017", truth, sub).score
    assert score.parts["roc_auc_melanoma"] == 0.75
    assert score.parts["roc_auc_seborrheic_keratosis"] == pytest.approx(2.5 / 3)
    assert score.value == pytest.approx((0.75 + 2.5 / 3) / 2)
    truth = write(tmp_path / "t.csv", "image_name,sex,target", "a,male,1", "b,female,0")
    sub = write(tmp_path / "p.csv", "image_name,target", "a,1", "b,0")
    assert judge("isic2020", truth, sub).score.value == 1.0


def test_a_tie_for_the_maximum_is_wrong() -> None:
    truth, score = np.eye(3), np.array([[0.4, 0.4, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    assert measures.balanced_accuracy(truth, score, np.ones(3)) == pytest.approx(2 / 3)


def test_area_above_sensitivity_of_a_perfect_and_a_constant_score() -> None:
    truth = np.array([True, True, False, False])
    ones = np.ones(4)
    assert measures.area_above_sensitivity(truth, truth * 1.0, ones) == 1.0
    # Chance: the curve is the diagonal, and its area right of FPR 0.8 is 1/2 - 0.8^2 / 2.
    assert measures.area_above_sensitivity(truth, np.full(4, 0.5), ones) == pytest.approx(0.18)


HEAD = "image," + ",".join(FORMATS["isic2018"].columns)
TRUTH = [
    f"ISIC_{i:07d}," + ",".join("1.0" if k == i else "0.0" for k in range(7)) for i in range(7)
]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([HEAD, *TRUTH[:-1], TRUTH[0]], "more than one row: ISIC_0000000"),
        ([HEAD, TRUTH[0].replace("1.0", "0,5"), *TRUTH[1:]], "row 2 has 9 fields, the header 8"),
        ([HEAD, TRUTH[0].replace("1.0", '"0,5"'), *TRUTH[1:]], "MEL in row 2: '0,5'"),
        ([HEAD, TRUTH[0].replace("1.0", ""), *TRUTH[1:]], "MEL in row 2: the value is missing"),
        ([HEAD, TRUTH[0].replace("1.0", "NaN"), *TRUTH[1:]], "'NaN' is not a number"),
        ([HEAD, TRUTH[0].replace("1.0", "1.2"), *TRUTH[1:]], "MEL 1.2 in row 2 lies outside"),
        ([HEAD, *(t.replace(".0", "") for t in TRUTH)], "write 0.0 and 1.0"),
        ([HEAD.replace("BCC", "BBC"), *TRUTH], "column 'BCC' is missing; did you mean 'BBC'?"),
        ([HEAD.replace("image", "images"), *TRUTH], "did you mean 'images'?"),
        ([HEAD + ",FOO", *(t + ",0.0" for t in TRUTH)], "column 'FOO' does not belong"),
        ([HEAD + ",MEL", *(t + ",0.0" for t in TRUTH)], "column 'MEL' is repeated"),
        ([HEAD, *TRUTH[1:]], "1 image(s) missing: ISIC_0000000"),
        ([HEAD, *TRUTH, TRUTH[0].replace("000000", "000009")], "not asked for: ISIC_0000090"),
        ([HEAD.replace(",", ";"), *TRUTH], "separated by ';'"),
        ([HEAD], "no rows"),
    ],
)
def test_refusals_name_row_and_value(lines: list[str], shown: str, tmp_path: Path) -> None:
    truth = write(tmp_path / "t.csv", HEAD, *TRUTH)
    with pytest.raises(BadInput) as refusal:
        judge("isic2018", truth, write(tmp_path / "p.csv", *lines))
    assert shown in str(refusal.value)
    assert "p.csv" in str(refusal.value)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([HEAD, TRUTH[0].replace("1.0", "0.7"), *TRUTH[1:]], "MEL '0.7' in row 2 is neither"),
        ([HEAD, TRUTH[0].replace("1.0", "0.0"), *TRUTH[1:]], "row 2 marks 0 classes"),
        ([HEAD + ",score_weight", *(t + ",-1" for t in TRUTH)], "'-1' in row 2 is not a weight"),
        ([HEAD + ",score_weight", *(t + ",0" for t in TRUTH)], "no image of the truth has weight"),
        ([HEAD + ",lesion", *(t + ",x" for t in TRUTH)], "column 'lesion' does not belong"),
        ([HEAD, *TRUTH, TRUTH[0]], "more than one row"),
    ],
)
def test_a_truth_that_is_none_is_refused(lines: list[str], shown: str, tmp_path: Path) -> None:
    prediction = write(tmp_path / "p.csv", HEAD, *TRUTH)
    with pytest.raises(BadInput) as refusal:
        judge("isic2018", write(tmp_path / "t.csv", *lines), prediction)
    assert shown in str(refusal.value)


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_missing_and_unreadable_files(challenge: str, tmp_path: Path) -> None:
    absent = tmp_path / "absent.csv"
    with pytest.raises(BadInput, match="no such file"):
        judge(challenge, absent, absent)
    (tmp_path / "l.csv").write_bytes("image,ä\n".encode("latin-1"))
    with pytest.raises(BadInput, match="UTF-8"):
        judge(challenge, tmp_path / "l.csv", absent)


def test_one_class_has_no_area(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.csv", "isic_id,malignant", "a,0", "b,0")
    sub = write(tmp_path / "p.csv", "isic_id,target", "a,0.1", "b,0.2")
    with pytest.raises(BadInput, match="needs images of both kinds"):
        judge("isic2024", truth, sub)


def test_medmnist_refusals(tmp_path: Path) -> None:
    truth, result = tmp_path / "breastmnist.npz", tmp_path / "breastmnist_val_x.csv"
    np.savez(truth, val_labels=np.array([[0], [1], [1]]))
    write(result, "0,0.2,0.8", "1,0.3,0.7", "2,0.6,0.4")
    score = judge("medmnist", truth, result).score
    assert (score.value, score.parts["accuracy"]) == (0.0, pytest.approx(1 / 3))
    for lines, shown in (
        (["0,0.1", "1,0.2"], "2 rows, where the val part has 3 images"),
        (["0,0.1", "1,0.2", "1,0.3"], "each once"),
        (["0,0.1", "1,x", "2,0.3"], "'x' is not a number"),
        (["0", "1", "2"], "no rows"),
    ):
        write(result, *lines)
        with pytest.raises(BadInput, match=shown):
            judge("medmnist", truth, result)
    with pytest.raises(BadInput, match="test_labels"):
        judge("medmnist", truth, write(tmp_path / "r.csv", "0,0.1"))
    with pytest.raises(BadInput, match="leave --threshold out"):
        judge("medmnist", truth, result, threshold=0.4)


def test_json_has_no_nan(udacity: tuple[Path, Path]) -> None:
    import json

    judged = judge("udacity", *udacity)
    assert isinstance(judged, Judged)
    assert json.loads(json.dumps(judged.score.to_json(), allow_nan=False))["n"] == 3


def test_unknown_challenge_and_threshold(udacity: tuple[Path, Path]) -> None:
    with pytest.raises(BadInput, match="did you mean 'isic20"):
        judge("isic2081", *udacity)
    with pytest.raises(BadInput, match="outside"):
        judge("udacity", *udacity, threshold=1.5)
