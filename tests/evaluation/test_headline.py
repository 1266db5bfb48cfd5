"""The tables of measures, against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from sklearn import metrics as sk

from helpers.cases import by_hand, drawn
from lesionlab.evaluation import headline as tables
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS, Family

LESIONS = ("mel", "bcc", "nv")


def measured(cases: Cases) -> Measured:
    return measure_cases(cases, resamples=40, seed=0, bands=False)


def binary(n: int = 100) -> Cases:
    generator = np.random.default_rng(0)
    y_true = (np.arange(n) < n // 4).astype(int)
    p = np.clip(0.3 + 0.3 * y_true + generator.normal(0, 0.2, n), 0.01, 0.99)
    return by_hand(y_true, np.stack([1 - p, p], 1))


def test_each_family_has_its_interval() -> None:
    assert set(tables.INTERVALS) == set(get_args(Family))
    assert {row.family for row in METRICS.values()} == set(get_args(Family))


def test_several_classes_have_the_metrics_of_the_table_in_its_order() -> None:
    found = tables.headline(measured(drawn()), None)
    assert list(found) == [name for name, row in METRICS.items() if row.applies(drawn())]
    for name, value in (
        ("roc_auc", sk.roc_auc_score),
        ("average_precision", sk.average_precision_score),
    ):
        c = drawn()
        each = [value(c.y_true == k, c.y_prob[:, k]) for k in range(3)]
        assert found[name].value == pytest.approx(np.mean(each))


@pytest.mark.parametrize("positive", ["a", "b"])
def test_two_classes_are_ranked_by_the_positive_one(positive: str) -> None:
    c = binary()
    k = c.classes.index(positive)
    m = measured(replace(c, full=frozenset({positive})))
    found = tables.headline(m, positive)
    applying = {name for name, row in METRICS.items() if row.applies(c)}
    assert set(found) == applying | set(RANKING_METRICS)
    expected = sk.average_precision_score(c.y_true == k, c.y_prob[:, k])
    assert found["average_precision"].value == pytest.approx(expected)
    other = sk.average_precision_score(c.y_true != k, c.y_prob[:, 1 - k])
    assert abs(expected - other) > 0.05  # so the sides cannot have been exchanged
    fpr, tpr, _ = sk.roc_curve(c.y_true == k, c.y_prob[:, k], drop_intermediate=False)
    assert found["sensitivity_at_specificity_80"].value == pytest.approx(tpr[fpr <= 0.2].max())


def test_without_a_prior_the_corrected_accuracy_is_not_computed() -> None:
    found = tables.headline(measured(binary()), "b")["balanced_accuracy_prior_corrected"]
    assert (found.value, found.low, found.n) == (None, None, 100)
    assert found.method == "not computed: the prior of the probabilities is not known"
    prior = by_hand(binary().y_true, binary().y_prob, prior=(0.75, 0.25))
    corrected = (prior.y_prob / [0.75, 0.25]).argmax(1)
    expected = sk.balanced_accuracy_score(prior.y_true, corrected)
    told = tables.headline(measured(prior), "b")["balanced_accuracy_prior_corrected"]
    assert told.value == pytest.approx(expected)


def test_proportions_and_the_number_without_an_interval() -> None:
    c = binary()
    found = tables.headline(measured(c), "b")
    right = (c.y_true == c.y_pred).mean()
    assert found["accuracy"].value == pytest.approx(right)
    assert found["error_rate"].value == pytest.approx(1 - right)
    assert found["error_rate"].low == pytest.approx(1 - found["accuracy"].high)
    assert found["majority_accuracy"].value == 0.75
    assert (found["ece"].low, found["ece"].high) == (None, None)
    assert found["ece"].value is not None
    assert "no interval" in found["ece"].method


def test_each_class_against_the_rest_agrees_with_scikit_learn() -> None:
    c = drawn()
    found = tables.per_class(measured(c))
    assert list(found) == ["a", "b", "c"]
    precision, recall, f1, _ = sk.precision_recall_fscore_support(c.y_true, c.y_pred)
    for k, name in enumerate(c.classes):
        is_class, called = c.y_true == k, c.y_pred == k
        expected = {
            "sensitivity": recall[k],
            "specificity": sk.recall_score(~is_class, ~called),
            "ppv": precision[k],
            "npv": sk.precision_score(~is_class, ~called),
            "f1": f1[k],
            "roc_auc": sk.roc_auc_score(is_class, c.y_prob[:, k]),
            "average_precision": sk.average_precision_score(is_class, c.y_prob[:, k]),
        }
        assert list(found[name]) == list(expected)
        for metric, value in expected.items():
            assert found[name][metric].value == pytest.approx(value), (name, metric)
        assert found[name]["sensitivity"].n == is_class.sum()
        assert found[name]["npv"].n == (~called).sum()


def test_a_class_that_is_never_named_has_no_ppv() -> None:
    y_true = np.arange(60) % 2
    m = measured(by_hand(y_true, np.tile([0.9, 0.1], (60, 1))))
    found = tables.two_by_two(m, y_true == 1, m.cases.y_pred == 1)
    assert found["sensitivity"].value == 0
    assert found["specificity"].value == 1
    assert (found["ppv"].value, found["ppv"].n) == (None, 0)
    assert found["npv"].value == 0.5
    assert tables.per_class(m)["b"]["f1"].value == 0
    assert tables.per_class(m)["b"]["roc_auc"].value == 0.5  # all tied


def test_malignant_is_decided_by_argmax_and_ranked_by_the_sum() -> None:
    # a and b are malignant. The first names b with a sum below one half, the second names c above.
    rows = [[0.0, 0.45, 0.55], [0.3, 0.3, 0.4], [0.0, 0.4, 0.6], [0.35, 0.25, 0.4], [0.5, 0.2, 0.3]]
    m = measured(by_hand([2, 0, 2, 1, 0], rows, malignant=("a", "b")))
    found = tables.malignant_v_benign(m, ("a", "b"))
    assert found["prevalence"].value == pytest.approx(3 / 5)
    assert (found["sensitivity"].value, found["specificity"].value) == (pytest.approx(1 / 3), 1)
    assert (found["ppv"].value, found["npv"].value) == (1, pytest.approx(2 / 4))
    assert found["roc_auc"].value == 1  # sums 0.6, 0.6 and 0.7 against 0.45 and 0.4
    assert list(found) == ["prevalence", "sensitivity", "specificity", "ppv", "npv",
                           *RANKING_METRICS]  # fmt: skip


def test_confusing_two_malignant_classes_is_no_error_between_malignant_and_benign() -> None:
    y_true = np.array([0, 1] * 20 + [2] * 30)
    called = np.where(y_true == 2, 2, 1 - y_true)  # a and b exchanged, c right
    m = measured(by_hand(y_true, np.eye(3)[called] * 0.7 + 0.1, malignant=("a", "b")))
    found = tables.malignant_v_benign(m, ("a", "b"))
    assert found["sensitivity"].value == found["specificity"].value == 1
    assert tables.headline(m, None)["accuracy"].value == pytest.approx(30 / 70)


def test_only_malignant_cases_have_no_ranking() -> None:
    c = by_hand([0] * 30, np.random.default_rng(0).dirichlet(np.ones(3), 30), malignant=("a", "b"))
    found = tables.malignant_v_benign(measured(c), ("a", "b"))
    assert found["prevalence"].value == 1
    assert found["specificity"].value is None
    assert found["roc_auc"].method == "undefined: the class is absent, or the only one"
