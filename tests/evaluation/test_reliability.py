from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from lesionlab.evaluation.reliability import (
    bin_numbers,
    calibration_line,
    expected_calibration_error,
    reliability_bins,
)


def study(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    score = expit(generator.normal(size=n) * 1.5 - 1)
    return score, generator.random(n) < score


def test_ece_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    hit = np.array([True, False, True, True])
    assert expected_calibration_error(confidence, hit, 10) == pytest.approx(
        0.5 * abs(0.5 - 0.95) + 0.5 * abs(1 - 0.55)
    )
    weight = np.array([1.0, 0, 1, 0])
    assert expected_calibration_error(confidence, hit, 10, weight) == pytest.approx(0.25)


def test_ece_is_biased_upward_which_is_why_it_has_no_interval() -> None:
    small = np.mean([expected_calibration_error(*study(100, s)) for s in range(50)])
    assert small > 3 * expected_calibration_error(*study(100000))


def test_a_bin_holds_its_upper_edge() -> None:
    assert bin_numbers(np.array([0.0, 0.1, 0.11, 0.2, 1.0]), 10).tolist() == [0, 0, 1, 1, 9]


def test_bins_hold_everyone_once_and_equal_scores_together() -> None:
    score, positive = study(500)
    score = np.round(score, 1)
    bins = reliability_bins(score, positive, np.arange(500))
    assert sum(b["n"] for b in bins) == 500
    assert all(a["high"] < b["low"] for a, b in pairwise(bins))
    for b in bins:
        inside = (score >= b["low"]) & (score <= b["high"])
        assert b["observed"]["value"] == pytest.approx(positive[inside].mean())
        assert b["low"] - 1e-12 <= b["mean_prob"] <= b["high"] + 1e-12


def test_a_constant_score_is_one_bin() -> None:
    bins = reliability_bins(np.full(50, 0.3), np.arange(50) < 15, np.arange(50))
    assert [(b["n"], b["observed"]["value"]) for b in bins] == [(50, 0.3)]


def test_the_line_of_exact_probabilities() -> None:
    line = calibration_line(*study(), np.arange(4000))
    for name, right in (("slope", 1), ("intercept", 0), ("observed_expected", 1)):
        m = line[name]
        assert m.low < right < m.high
        assert m.value == pytest.approx(right, abs=0.1)


def test_the_line_agrees_with_a_logistic_regression_and_its_known_distortion() -> None:
    score, positive = study()
    distorted = expit(2 * logit(score) + 2)
    line = calibration_line(distorted, positive, np.arange(4000))
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    fit.fit(logit(distorted)[:, None], positive)
    assert line["slope"].value == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert line["slope"].value == pytest.approx(0.5, abs=0.05)
    assert line["observed_expected"].value == pytest.approx(positive.sum() / distorted.sum())
    assert line["intercept"].value < 0


def test_siblings_widen_the_line() -> None:
    score, positive = study(1000)
    one = calibration_line(score, positive, np.arange(1000))
    many = calibration_line(np.tile(score, 5), np.tile(positive, 5), np.tile(np.arange(1000), 5))
    for name in one:
        assert many[name].value == pytest.approx(one[name].value, abs=1e-6)
        assert many[name].high == pytest.approx(one[name].high, rel=1e-3)


def test_the_line_without_cases_or_with_separated_classes_is_undefined() -> None:
    score, positive = study(200)
    nobody = calibration_line(score, np.zeros(200, bool), np.arange(200))
    assert nobody["slope"].value is None
    separated = calibration_line(score, score > 0.3, np.arange(200))
    assert separated["slope"].value is None
    assert separated["observed_expected"].value is not None
    few = calibration_line(score[:20], positive[:20], np.arange(20))
    assert few["slope"].low is None
    assert few["slope"].method.startswith("too few")
