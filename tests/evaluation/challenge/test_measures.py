"""The official package's own arithmetic, by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from lesionlab.evaluation.challenge.measures import (
    area_above_sensitivity,
    balanced_accuracy,
    category,
    confusion_at,
)

RNG = np.random.default_rng(1)


def test_balanced_accuracy_agrees_with_scikit_learn_where_nothing_ties() -> None:
    y, score, weight = RNG.integers(0, 4, 80), RNG.random((80, 4)), RNG.integers(0, 3, 80) * 1.0
    kept = weight > 0
    expected = balanced_accuracy_score(y[kept], score[kept].argmax(1), sample_weight=weight[kept])
    found = balanced_accuracy(np.eye(4)[y], score, weight)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_without_weight_does_not_count_and_a_tie_is_wrong() -> None:
    truth = np.eye(3)[[0, 0, 1, 2]]
    score = np.array([[0.9, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [1, 0, 0]])
    assert balanced_accuracy(truth, score, np.array([1.0, 3.0, 2.0, 0.0])) == (1 / 4 + 1) / 2
    assert np.isnan(balanced_accuracy(truth, score, np.zeros(4)))


def test_area_above_sensitivity_by_hand() -> None:
    """Two of two positives above all negatives: all of the strip; below all of them: nothing."""
    truth = np.array([True, True, False, False])
    one = np.ones(4)
    assert area_above_sensitivity(truth, np.array([4.0, 3, 2, 1]), one) == pytest.approx(1.0)
    assert area_above_sensitivity(truth, np.array([1.0, 2, 3, 4]), one) == pytest.approx(0.0)
    assert area_above_sensitivity(truth, np.array([4.0, 2, 3, 1]), one) == pytest.approx(0.5)
    constant = area_above_sensitivity(truth, np.zeros(4), one)
    assert constant == pytest.approx(0.2 * (0.8 + 1) / 2)


def test_an_integer_weight_is_so_many_copies_of_the_row() -> None:
    truth, score = RNG.random(60) < 0.4, np.round(RNG.random(60), 1)
    weight = RNG.integers(0, 4, 60)
    copied, scores = np.repeat(truth, weight), np.repeat(score, weight)
    weighted = category(truth, score, weight.astype(float))
    plain = category(copied, scores, np.ones(len(copied)))
    assert weighted == pytest.approx(plain, abs=1e-12)
    assert plain["auc"] == pytest.approx(roc_auc_score(copied, scores), abs=1e-12)
    assert plain["ap"] == pytest.approx(average_precision_score(copied, scores), abs=1e-12)


def test_the_nine_numbers_by_hand() -> None:
    """At > 0.5: one of each cell but two true negatives; 0.5 itself is not called."""
    truth = np.array([True, True, False, False, False])
    found = category(truth, np.array([0.9, 0.5, 0.6, 0.2, 0.1]), np.ones(5))
    wanted = {"accuracy": 3 / 5, "sensitivity": 1 / 2, "specificity": 2 / 3, "dice": 1 / 2}
    wanted |= {"ppv": 1 / 2, "npv": 2 / 3, "auc": 5 / 6}
    assert {k: found[k] for k in wanted} == pytest.approx(wanted)
    assert set(found) == {*wanted, "auc_sens_80", "ap"}


def test_a_share_of_nothing_is_1_and_its_area_nan() -> None:
    none = category(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]), np.ones(3))
    assert (none["sensitivity"], none["ppv"], none["dice"], none["specificity"]) == (1, 1, 1, 1)
    every = category(np.ones(2, bool), np.array([0.1, 0.9]), np.ones(2))
    assert (every["specificity"], every["sensitivity"], every["npv"]) == (1, 0.5, 0)
    weightless = category(np.array([True, False]), np.array([0.9, 0.1]), np.array([1.0, 0.0]))
    for found in (none, every, weightless):
        assert all(np.isnan(found[k]) for k in ("auc", "auc_sens_80", "ap"))


def test_confusion_is_positive_from_the_threshold_up() -> None:
    truth, score = np.array([True, False, False, True]), np.array([0.3, 0.3, 0.1, 0.2])
    assert confusion_at(truth, score, 0.3).tolist() == [[1, 1], [1, 1]]
    assert confusion_at(truth, score, 0.31).tolist() == [[2, 0], [2, 0]]
    assert confusion_at(truth[:0], score[:0], 0.5).tolist() == [[0, 0], [0, 0]]
