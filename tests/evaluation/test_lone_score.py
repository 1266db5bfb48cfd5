"""One column of scores: what it is by names and values, and when nobody can say."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.table_reading import TableReading

N = 40
RNG = np.random.default_rng(0)
P = np.round(RNG.uniform(0.02, 0.98, N), 4)  # of malignant
CALLED = np.where(P >= 0.5, "malignant", "benign")
CONFIDENCE = np.round(np.maximum(P, 1 - P), 4)
TRUTH = np.where(RNG.uniform(size=N) < P, "malignant", "benign")
NO_TRUTH = Path("truth.csv")


def write(folder: Path, **columns: object) -> Path:
    path = folder / "p.csv"
    lines = zip(*columns.values(), strict=True)  # type: ignore[arg-type]
    text = "\n".join([",".join(columns), *(",".join(map(str, line)) for line in lines)])
    path.write_text(text + "\n", encoding="utf-8")
    return path


def ids() -> list[str]:
    return [f"i{k}" for k in range(N)]


def read(path: Path, **how: object) -> Predictions:
    return read_any(path, TableReading(**how)).predictions  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["label", "class", "y"])
@pytest.mark.parametrize("score", ["score", "prob", "probability", "confidence"])
def test_a_label_beside_a_score_is_refused_with_both_commands(
    tmp_path: Path, label: str, score: str
) -> None:
    for numbers in (CONFIDENCE, P):
        path = write(tmp_path, image=ids(), **{label: CALLED, score: numbers})
        with pytest.raises(BadInput) as caught:
            read(path)
        said = str(caught.value)
        assert f"lesionlab evaluate {path} --truth truth.csv" in said
        given = f"--label-column {label} --score-column {score} --positive malignant"
        assert given in said
        assert ("is never below 1/2: probably" in said) == (numbers is CONFIDENCE)
        assert ("(top-1)" in said) == (numbers is CONFIDENCE or score == "confidence")
        assert len(shlex.split(given)) == 6


def test_the_first_command_reads_label_and_score_as_answer_and_confidence(tmp_path: Path) -> None:
    path = write(tmp_path, image=ids(), label=CALLED, score=CONFIDENCE)
    found = read_any(path, TableReading(truth=NO_TRUTH))
    assert found.predictions.classes == ("benign", "malignant")
    assert np.allclose(found.predictions.y_prob[:, 1], P, atol=1e-4)
    assert not found.predictions.is_labelled.any()
    assert found.mapping == ("image: image", "answer: label; its confidence: score")


def test_the_second_command_reads_them_as_truth_and_probability(tmp_path: Path) -> None:
    path = write(tmp_path, image=ids(), label=TRUTH, score=P)
    found = read(path, label_column="label", score_column="score", positive="malignant")
    assert np.allclose(found.y_prob[:, 1], P)
    assert [found.classes[k] for k in found.y_true] == TRUTH.tolist()


@pytest.mark.parametrize("answer", ["pred", "prediction", "predicted_class", "top1", "y_pred"])
def test_answers_beside_a_truth_say_what_the_score_is(tmp_path: Path, answer: str) -> None:
    for numbers in (CONFIDENCE, P):
        path = write(tmp_path, image=ids(), label=TRUTH, score=numbers, **{answer: CALLED})
        found = read(path)
        assert np.allclose(found.y_prob[:, 1], P, atol=1e-4)
        assert [found.classes[k] for k in found.y_true] == TRUTH.tolist()


def test_numbered_answers_take_the_names_that_are_given(tmp_path: Path) -> None:
    path = write(tmp_path, image=ids(), label=(P >= 0.5).astype(int), score=CONFIDENCE)
    found = read(path, truth=NO_TRUTH, classes=("benign", "malignant"))
    assert found.classes == ("benign", "malignant")
    assert np.allclose(found.y_prob[:, 1], P, atol=1e-4)


def test_a_score_that_does_not_go_with_the_answer_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, image=ids(), dx=TRUTH, pred=CALLED, score=np.roll(P, 1))
    with pytest.raises(BadInput, match="neither the confidence of that answer"):
        read(path)


def test_the_confidence_of_three_classes_is_no_use_alone(tmp_path: Path) -> None:
    three = RNG.choice(["mel", "nv", "bkl"], N)
    path = write(tmp_path, image=ids(), label=three, score=0.34 + 0.6 * P)
    with pytest.raises(BadInput, match="never below 1/3"):
        read(path)
    with pytest.raises(BadInput, match="save the probability of every class"):
        read(path, truth=NO_TRUTH)


def test_a_truth_by_its_name_beside_a_score_below_a_half(tmp_path: Path) -> None:
    path = write(tmp_path, image=ids(), y_true=(TRUTH == "malignant").astype(int), y_score=P)
    found = read(path)
    assert found.classes == ("negative", "positive")
    assert np.allclose(found.y_prob[:, 1], P)
    path = write(tmp_path, image=ids(), dx=TRUTH, score=CONFIDENCE)
    with pytest.raises(BadInput, match="top-1"):
        read(path)


def test_the_probabilities_of_a_submission_are_no_labels(tmp_path: Path) -> None:
    """`target` is 0 or 1 in the truth of ISIC 2020, and a probability in a submission."""
    for name in ("target", "label", "prediction", "pred", "p"):
        found = read(write(tmp_path, image_name=ids(), **{name: P}), truth=NO_TRUTH)
        assert np.allclose(found.y_prob[:, 1], P)
        assert not found.is_labelled.any()
    with pytest.raises(BadInput, match="says nothing without that class"):
        read(write(tmp_path, image_name=ids(), score=CONFIDENCE), truth=NO_TRUTH)
