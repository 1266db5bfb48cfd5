"""One score of some classes: any order of their names, and decimals as they are written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.operating_point import apply_operating_point, choose_operating_point
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions
from lesionlab.evaluation.reader_pairs import model_measures, pair
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.submission import make_submission
from lesionlab.evaluation.units import to_unit
from lesionlab.evaluation.votes import Votes
from lesionlab.reporting.explorer import malignant_scores

CLASSES = ("nv", "mel", "bcc", "akiec")
BAD = ("mel", "bcc", "akiec")
ORDERS = list(itertools.permutations(BAD))
FEW = Resampling(20)


def tenths() -> tuple[np.ndarray, np.ndarray]:
    """Every row of four tenths that sum to ten, and the rows as probabilities."""
    rows = [r for r in itertools.product(range(11), repeat=4) if sum(r) == 10]
    return np.array(rows), np.array([[float(f"0.{v}") if v < 10 else 1.0 for v in r] for r in rows])


def table() -> Predictions:
    whole, y_prob = tenths()
    n = len(whole)
    names = np.array([f"i{i}" for i in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    y_true = np.random.default_rng(0).integers(0, 4, n)
    return Predictions(names, blank, blank, CLASSES, y_true, y_prob)


@pytest.mark.parametrize("score", ORDERS)
def test_decimals_are_compared_as_they_are_written(score: tuple[str, ...]) -> None:
    whole, y_prob = tenths()
    found = score_of(y_prob, CLASSES, score)
    naive = y_prob[:, [CLASSES.index(c) for c in score]].sum(1)
    for t in range(11):
        exact = whole[:, 1:].sum(1) >= t
        assert ((found >= t / 10) == exact).all()
    assert any(((naive >= t / 10) != (whole[:, 1:].sum(1) >= t)).any() for t in range(11))


def test_three_decimals_of_many_classes() -> None:
    generator = np.random.default_rng(1)
    whole = generator.multinomial(1000, np.full(9, 1 / 9), 4000)
    names = [f"c{k}" for k in range(9)]
    found = score_of(whole / 1000, names, names[:5])
    assert (found == whole[:, :5].sum(1) / 1000).all()


def test_seven_tenths_and_one_tenth_are_eight_tenths() -> None:
    row = np.array([[0.2, 0.7, 0.1]])
    assert row[:, 1:].sum(1)[0] < 0.8
    for score in (("mel", "bcc"), ("bcc", "mel")):
        assert score_of(row, ("nv", "mel", "bcc"), score)[0] >= 0.8


def test_what_is_no_sum_or_very_small_is_not_rounded() -> None:
    p = np.array([[1 / 3, 2 / 3, 0.0], [1e-15, 2e-20, 3e-20], [1.0, 5e-13, 4e-13]])
    assert (score_of(p, ("a", "b", "c"), ("b",)) == p[:, 1]).all()
    small = score_of(p, ("a", "b", "c"), ("c", "b"))
    assert small.tolist() == [round(2 / 3, 12), 5e-20, 9e-13]
    order = score_of(np.array([[0, 4e-7, 5e-7], [0, 5e-7, 5e-7]]), ("a", "b", "c"), ("b", "c"))
    assert order[0] < order[1]


def test_float32_is_summed_as_float64() -> None:
    p = np.array([[0.2, 0.7, 0.1]], np.float32)
    (found,) = score_of(p, ("nv", "mel", "bcc"), ("bcc", "mel"))
    assert found == round(float(p[0, 1]) + float(p[0, 2]), 12)
    assert found.dtype == np.float64


@pytest.mark.parametrize(("score", "what"), [((), "no class"), (("mle",), "'mle'.*mean 'mel'")])
def test_refusals(score: tuple[str, ...], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        score_of(np.eye(4), CLASSES, score)


def outputs(data: Predictions, score: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """What each part says of the data at a threshold of 0.8, as numbers that can be compared."""
    point = choose_operating_point(data, score=score, chosen_on="t", policy="fixed", target=0.8)
    best = choose_operating_point(data, score=score, chosen_on="valid", policy="youden")
    whole = evaluate_predictions(
        data, malignant=score, operating_points=[point], resampling=FEW
    ).to_json()
    votes = Votes(data.image_id, CLASSES, np.ones((len(data), 4)), data.y_true)
    read = pair(data, votes, score, "readers")
    age = pd.DataFrame({"age": np.arange(len(data)) % 90}, index=data.image_id)
    (by_age,) = subgroups(
        data, age, malignant=score, attributes=["age"], threshold=0.8, resampling=FEW
    )
    pairs = np.array([f"p{i // 2}" for i in range(len(data))], dtype=object)
    patients = Predictions(data.image_id, pairs, data.lesion_id, CLASSES, data.y_true, data.y_prob)
    write_predictions(folder / "p.csv", data)
    again = read_predictions(folder / "p.csv")
    scored = malignant_scores(data, score)
    assert scored is not None
    return {
        "best": best.threshold,
        "called": apply_operating_point(point, data.y_prob, CLASSES).tolist(),
        "again": apply_operating_point(point, again.y_prob, CLASSES).tolist(),
        "report": whole["operating_points"][0]["counts"],
        "auc": whole["malignant_v_benign"]["roc_auc"],
        "curve": whole["decision_curve"],
        "readers": model_measures(read, "read", 0.8)["sensitivity"].value,
        "subgroups": [(s.sensitivity, s.specificity) for s in by_age.levels],
        "units": to_unit(patients, "patient", score).y_prob.tolist(),
        "submission": make_submission(data, "isic2020", malignant=score).text,
        "explorer": (scored[0] >= 0.8).tolist(),
    }


def test_the_order_of_the_malignant_classes_changes_nothing_and_all_parts_agree(
    tmp_path: Path,
) -> None:
    data = table()
    first, *others = [outputs(data, score, tmp_path) for score in ORDERS]
    assert all(other == first for other in others)
    exact = tenths()[0][:, 1:].sum(1) >= 8
    assert first["called"] == first["again"] == first["explorer"] == exact.tolist()
    malignant = data.y_true > 0
    assert first["report"]["tp"] == (exact & malignant).sum()
    assert first["report"]["fp"] == (exact & ~malignant).sum()
    assert first["readers"] == pytest.approx(exact[malignant].mean())
    at = first["curve"]["threshold"].index(0.8)
    benefit = (exact & malignant).sum() - (exact & ~malignant).sum() * 0.8 / 0.2
    assert first["curve"]["model"]["value"][at] == pytest.approx(benefit / len(data))
    sent = [float(line.split(",")[1]) for line in first["submission"].splitlines()[1:]]
    assert [v >= 0.8 for v in sent] == exact.tolist()
