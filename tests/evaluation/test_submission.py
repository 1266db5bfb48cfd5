"""Submissions: what we write is scored, in the sample's order; the validator finds every fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge.formats import FORMATS
from lesionlab.evaluation.challenge.scorers import judge
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.submission import (
    check_submission,
    make_submission,
    without_prior,
    write_submission,
)

HAM = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SKIN = ("melanoma", "nevus", "seborrheic keratosis")
MODELS = {
    "isic2016": ("benign", "malignant"),
    "isic2017": SKIN,
    "udacity": SKIN,
    "isic2018": HAM,
    "isic2019": (*HAM, "scc"),
    "isic2020": ("benign", "melanoma"),
    "isic2024": ("benign", "malignant"),
}


def predictions(classes: tuple[str, ...], n: int = 24, suffix: str = "") -> Predictions:
    rng = np.random.default_rng(len(classes))
    y_true = np.arange(n) % len(classes)
    score = rng.random((n, len(classes))) + np.eye(len(classes))[y_true]
    prob = score / score.sum(axis=1, keepdims=True)
    ids = np.array([f"ISIC_{i:07d}{suffix}" for i in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    return Predictions(ids, blank, blank, classes, y_true, prob)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def truth_of(form_name: str, p: Predictions, path: Path) -> Path:
    """The truth file that belongs to `predictions`, with the columns of the format."""
    form = FORMATS[form_name]
    sub = make_submission(p, form_name)
    lines = [",".join((form.key, *form.truth))] if form.header else []
    for i, name in enumerate(p.image_id):
        label = p.classes[p.y_true[i]]
        cells = ["1.0" if label in group else "0.0" for group in sub.columns.values()]
        lines.append(",".join([str(name), *cells]))
    return write(path, *lines)


@pytest.mark.parametrize("form_name", FORMATS)
def test_what_we_write_is_scored_and_keeps_the_samples_order(
    form_name: str, tmp_path: Path
) -> None:
    p = predictions(MODELS[form_name])
    form = FORMATS[form_name]
    order = list(reversed([str(i) for i in p.image_id]))
    header = [",".join((form.key, *form.columns))] if form.header else []
    rows = [",".join([i, *("0.0" for _ in form.columns)]) for i in order]
    sample = write(tmp_path / "sample.csv", *header, *rows)
    sub, path = make_submission(p, form_name, sample=sample), tmp_path / "sub.csv"
    write_submission(path, sub)
    lines = path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[len(header) :]] == order
    assert check_submission(path, form_name, sample=sample).problems == ()
    score = judge(form_name, truth_of(form_name, p, tmp_path / "truth.csv"), path).score
    assert score.value > (0.1 if form.primary == "partial_auc_80" else 0.8)


def test_numbers_survive_exactly_and_every_column_is_a_float_column(tmp_path: Path) -> None:
    p = predictions(("benign", "malignant"))
    p = Predictions(
        p.image_id, p.patient_id, p.lesion_id, p.classes, p.y_true, np.eye(2)[p.y_true] * 1.0
    )
    text = make_submission(p, "isic2016").text
    assert text.splitlines()[0] == "ISIC_0000000,0.0"
    p = predictions(HAM)
    sub = make_submission(p, "isic2018")
    first = sub.text.splitlines()[1].split(",")
    assert float(first[1]) == p.y_prob[0, HAM.index("mel")]


def test_columns_are_found_by_name_and_what_was_done_is_said() -> None:
    sub = make_submission(predictions((*HAM, "scc")), "isic2019")
    assert sub.columns["AK"] == ("akiec",)
    assert sub.columns["UNK"] == ()
    assert any("UNK: written as 0.0" in note for note in sub.notes)
    assert {line.split(",")[-1] for line in sub.text.splitlines()[1:]} == {"0.0"}
    sub = make_submission(predictions(HAM), "isic2024", malignant=("mel", "bcc", "akiec"))
    assert sub.columns == {"target": ("mel", "bcc", "akiec")}
    assert make_submission(predictions(HAM), "isic2024").columns == {
        "target": ("akiec", "bcc", "mel")
    }
    assert make_submission(predictions(HAM), "isic2020").columns == {"target": ("mel",)}


def test_udacity_paths_match_by_their_last_part(tmp_path: Path) -> None:
    p = predictions(SKIN, 3)
    paths = [f"data/test/nevus/{i}.jpg" for i in p.image_id]
    sample = write(tmp_path / "s.csv", "Id,task_1,task_2", *(f"{i},0,0" for i in paths))
    lines = make_submission(p, "udacity", sample=sample).text.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == paths


@pytest.mark.parametrize(
    ("classes", "form_name", "malignant", "shown"),
    [
        (("mel", "nv"), "isic2018", (), "no class of the model answers to BCC"),
        ((*HAM, "wart"), "isic2018", (), "class 'wart' of the model has no column"),
        (("a", "b"), "isic2024", (), "name them: --malignant a,b"),
        (("benign", "malignant"), "isic2017", (), "no class of the model answers to melanoma"),
        (HAM, "isic2024", ("bbc",), "did you mean 'bcc'?"),
        (HAM, "isic2077", (), "no challenge format"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    classes: tuple[str, ...], form_name: str, malignant: tuple[str, ...], shown: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        make_submission(predictions(classes), form_name, malignant=malignant)
    assert shown in str(refusal.value)


def test_an_image_of_the_sample_without_prediction_is_refused(tmp_path: Path) -> None:
    sample = write(tmp_path / "s.csv", "image_name,target", "ISIC_0000001,0", "ISIC_9,0")
    with pytest.raises(BadInput, match="no prediction: ISIC_9"):
        make_submission(predictions(("benign", "melanoma")), "isic2020", sample=sample)
    write(sample, "image_name,target", "ISIC_0000001,0")
    sub = make_submission(predictions(("benign", "melanoma")), "isic2020", sample=sample)
    assert sub.rows == 1
    assert any("23 prediction(s) are not in the sample" in note for note in sub.notes)


def test_without_prior_is_bayes() -> None:
    prob, prior = np.array([[0.7, 0.2, 0.1]]), np.array([0.6, 0.3, 0.1])
    ratio = prob / prior
    np.testing.assert_allclose(without_prior(prob, prior), ratio / ratio.sum())
    assert without_prior(np.array([[1.0, 0.0]]), np.array([1.0, 0.0])).tolist() == [[1.0, 0.0]]


def test_the_validator_lists_every_problem_at_once(tmp_path: Path) -> None:
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASX"
    path = write(
        tmp_path / "p.csv", head, "a,1.5,0.1,0,0.1,0.1,0.1,0.1", "a,0.2,x,0,0.1,0.1,0.1,0.1"
    )
    problems = check_submission(path, "isic2018").problems
    wanted = ("more than one row", "'VASC' is missing", "'VASX' does not", "1.5", "'x'", "BCC")
    for words in wanted:
        assert any(words in problem for problem in problems), (words, problems)
    assert len(problems) == len(wanted)


def test_the_validator_knows_each_judges_habits(tmp_path: Path) -> None:
    whole = write(tmp_path / "k.csv", "image_name,target", "a,0", "b,1")
    assert check_submission(whole, "isic2020").problems == ()  # Kaggle takes whole numbers
    strict = write(tmp_path / "s.csv", "image_id,melanoma,seborrheic_keratosis", "a,0,0.5")
    assert "write 0.0 and 1.0" in check_submission(strict, "isic2017").problems[0]
    renamed = write(tmp_path / "r.csv", "image,target", "a,0.5", "b,0.2")
    assert "write 'image_name'" in check_submission(renamed, "isic2020").problems[0]
    sample = write(tmp_path / "o.csv", "Id,task_1,task_2", "a,0,0", "b,0,0")
    turned = write(tmp_path / "t.csv", "Id,task_1,task_2", "b,0.1,0", "a,0,0.1")
    assert (
        "pairs the rows by their place"
        in check_submission(turned, "udacity", sample=sample).problems[0]
    )
    assert check_submission(turned, "udacity").problems == ()


def test_the_validator_warns_of_what_would_be_taken_but_regretted(tmp_path: Path) -> None:
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    path = write(tmp_path / "p.csv", head, "a" + ",0.5" * 7, "b" + ",0.5" * 7)
    found = check_submission(path, "isic2018")
    assert found.problems == ()
    assert any("tie" in w for w in found.warnings)
    assert any("sum to 1" in w for w in found.warnings)
    assert any("same value" in w for w in found.warnings)


def test_a_file_that_is_no_table_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("")
    assert len(check_submission(tmp_path / "e.csv", "isic2018").problems) == 1
    with pytest.raises(BadInput, match="no such file"):
        check_submission(tmp_path / "absent.csv", "isic2018")
