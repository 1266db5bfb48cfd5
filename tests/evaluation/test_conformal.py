from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation import conformal
from lesionlab.evaluation.calibration import softmax
from lesionlab.evaluation.conformal import fit_conformal, measure_sets, prediction_sets
from lesionlab.evaluation.predictions import Predictions

CLASSES = ("nv", "mel", "bcc")


def lesions(groups: int, seed: int, per_group: int = 2) -> Predictions:
    generator = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), per_group)
    y_true = (np.arange(groups) % 3)[code]
    shared = generator.normal(size=(groups, 3))[code]
    z = shared + generator.normal(size=(len(code), 3))
    z[np.arange(len(code)), y_true] += 1.5
    names = np.array([f"i{i}" for i in range(len(code))], dtype=object)
    lesion = np.array([f"L{c}" for c in code], dtype=object)
    blank = np.full(len(code), "", dtype=object)
    return Predictions(names, blank, lesion, CLASSES, y_true.astype(np.int64), softmax(z))


@pytest.mark.parametrize("method", conformal.SCORES)
@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_coverage_of_each_class_holds_on_average(method: str, alpha: float) -> None:
    covered = []
    for seed in range(40):
        rule = fit_conformal(lesions(120, seed), calibrated_on="calib", method=method, alpha=alpha)
        new = lesions(150, 1000 + seed)
        hit = prediction_sets(rule, new.y_prob)[np.arange(len(new)), new.y_true]
        covered.append([hit[new.y_true == k].mean() for k in range(3)])
    mean = np.mean(covered, axis=0)
    # 40 groups a class: the expected coverage lies in [1 - alpha, 1 - alpha + 1/41].
    assert (mean > 1 - alpha - 0.02).all()
    if method == "lac":  # the others reach 1 at the last class, and ties there over-cover
        assert (mean < 1 - alpha + 0.045).all()


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.05, 19), (0.2, 4)])
def test_the_quantile_exists_from_the_stated_number_on(alpha: float, needed: int) -> None:
    assert conformal.groups_needed(alpha) == needed
    scores = np.arange(needed) / needed
    assert conformal.conformal_quantile(scores, alpha) == scores.max()
    assert math.isinf(conformal.conformal_quantile(scores[1:], alpha))


def test_too_few_groups_are_refused_or_included_and_few_are_warned_of() -> None:
    few = lesions(24, 0, per_group=5)  # 8 lesions a class, 40 images
    with pytest.raises(BadInput, match=r"8 groups on calib; alpha 0\.1 needs 9"):
        fit_conformal(few, calibrated_on="calib")
    rule = fit_conformal(few, calibrated_on="calib", rare="include")
    assert prediction_sets(rule, few.y_prob).all()
    assert len(rule.warnings) == 3
    assert "uncertain" in fit_conformal(lesions(54, 0), calibrated_on="calib").warnings[0]
    assert fit_conformal(lesions(57, 0), calibrated_on="calib").warnings == ()


def test_one_image_a_lesion_calibrates() -> None:
    data = lesions(60, 3, per_group=4)
    rows = conformal.one_a_group(data, seed=1)
    assert len(rows) == 60
    assert len(set(data.lesion_id[rows])) == 60
    assert not np.array_equal(rows, conformal.one_a_group(data, seed=2))
    assert fit_conformal(data, calibrated_on="calib").groups == (20, 20, 20)


def test_aps_by_hand() -> None:
    y_prob = np.array([[0.2, 0.7, 0.1]])
    np.testing.assert_allclose(conformal.aps_scores(y_prob), [[0.9, 0.7, 1.0]])
    np.testing.assert_allclose(conformal.raps_scores(y_prob), [[0.9, 0.7, 1.01]])
    np.testing.assert_allclose(conformal.lac_scores(y_prob), [[0.8, 0.3, 0.9]])


@pytest.mark.parametrize("method", ["aps", "raps"])
def test_a_very_sure_case_has_its_class_in_the_set(method: str) -> None:
    rule = fit_conformal(lesions(120, 0), calibrated_on="calib", method=method, alpha=0.4)
    sure = np.array([[0.998, 0.001, 0.001], [0.001, 0.998, 0.001]])
    assert max(rule.quantile) < 0.998
    assert prediction_sets(rule, sure).tolist() == [[True, False, False], [False, True, False]]
    assert measure_sets(rule, lesions(150, 1))["sizes"][0] == 0
    lac = fit_conformal(lesions(120, 0), calibrated_on="calib", alpha=0.4)
    assert not prediction_sets(lac, np.full((1, 3), 1 / 3)).any()


def test_round_trip_and_summary() -> None:
    rule = fit_conformal(lesions(24, 0), calibrated_on="calib", rare="include")
    again = conformal.Conformal.from_json(json.loads(json.dumps(rule.to_json(), allow_nan=False)))
    assert again == rule
    summary = measure_sets(rule, lesions(30, 1))
    json.dumps(summary, allow_nan=False)
    assert summary["coverage"]["value"] == 1.0
    assert summary["mean_size"] == summary["size"]["value"] == 3.0
    assert 2 < summary["size"]["low"] < 3
    assert summary["classes"]["mel"]["sizes"] == [0, 0, 0, 20]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibrated_on": "test"}, "never calibrated on test"),
        ({"calibrated_on": "calib", "method": "lak"}, "did you mean 'lac'"),
        ({"calibrated_on": "calib", "alpha": 0.0}, "outside"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit_conformal(lesions(60, 0), **options)


def test_other_classes_are_refused() -> None:
    rule = fit_conformal(lesions(60, 0), calibrated_on="calib")
    data = lesions(60, 1)
    other = Predictions(
        data.image_id, data.patient_id, data.lesion_id, ("a", "b", "c"), data.y_true, data.y_prob
    )
    with pytest.raises(BadInput, match="classes differ"):
        measure_sets(rule, other)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.1, [0.8286544076608782, 0.8135451893394678, 0.8654375490207007, 0.838804449450444]),
        (0.2, [0.7533231768997244, 0.7579252306148948, 0.8020412503401908, 0.8043977389336643]),
    ],
)
def test_lac_quantiles_are_those_of_mapie(alpha: float, expected: list[float]) -> None:
    # Recorded from mapie 1.1.0 (SplitConformalClassifier on the rows of one class at a time).
    generator = np.random.default_rng(20)
    y_true = generator.integers(0, 4, 400)
    z = generator.normal(size=(400, 4))
    z[np.arange(400), y_true] += 1.2
    scores = conformal.lac_scores(softmax(z))
    found = [conformal.conformal_quantile(scores[y_true == k, k], alpha) for k in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
