"""Single statistics on arrays are those that `evaluate` and `compare` give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit, softmax
from sklearn.metrics import average_precision_score, roc_auc_score

import lesionlab
from lesionlab import stats
from lesionlab.errors import BadInput

RNG = np.random.default_rng(0)
N = 300
Y = RNG.integers(0, 2, N)
A, B = Y + RNG.normal(0, 0.8, N), Y + RNG.normal(0, 1.4, N)
P = 1 / (1 + np.exp(-2 * (A - 0.5)))
GROUPS = np.arange(N) // 2
Y3 = RNG.integers(0, 3, N)
Z3 = RNG.normal(0, 1, (N, 3)) + 2 * np.eye(3)[Y3]
P3 = softmax(Z3, axis=1)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_auc_interval_is_that_of_evaluate_and_sees_only_the_order(groups: Any) -> None:
    options: dict[str, Any] = {"groups": groups, "resamples": 200}
    whole = lesionlab.evaluate(y_true=Y, y_prob=P, **options).roc_auc
    for score in (P, logit(P), pd.Series(P), torch.tensor(P).requires_grad_(), 1000 * P):
        found = stats.auc_interval(Y, score, **options)
        assert found.value == pytest.approx(whole.value, abs=1e-12)
        assert found.low == pytest.approx(whole.low, abs=1e-12)
        assert found.high == pytest.approx(whole.high, abs=1e-12)
        assert found.method == whole.method
    assert found.value == pytest.approx(roc_auc_score(Y, P), abs=1e-12)


def test_the_positive_class_turns_the_area_round() -> None:
    names = np.where(Y == 1, "ill", "well")
    up = stats.auc_interval(names, A, positive="ill").value
    down = stats.auc_interval(names, A, positive="well").value
    assert up is not None
    assert down == pytest.approx(1 - up, abs=1e-12)
    with pytest.raises(BadInput, match="y_score is one column: is it the probability"):
        stats.auc_interval(names, A)


def test_paired_difference_is_delong_or_resampled_by_groups() -> None:
    alone = stats.paired_difference(Y, A, B)
    assert alone.test == "DeLong"
    expected = roc_auc_score(Y, A) - roc_auc_score(Y, B)
    assert alone.difference.value == pytest.approx(expected, abs=1e-12)
    assert alone.p_value < 0.01
    assert "A is better" in alone.verdict
    grouped = stats.paired_difference(Y, A, B, groups=GROUPS, resamples=200)
    assert grouped.test == f"permutation of {N // 2} groups"
    assert grouped.groups == N // 2
    back = stats.paired_difference(Y, B, A)
    assert back.difference.value == pytest.approx(-expected, abs=1e-12)
    assert set(alone.to_json()["difference"]) == {"value", "low", "high", "n", "method"}


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "nll", "brier"])
def test_paired_differences_of_probabilities(metric: str) -> None:
    flat = 0.5 * P3 + 0.5 / 3
    found = stats.paired_difference(Y3, P3, flat, metric=metric, resamples=200)
    alone = lesionlab.evaluate(y_true=Y3, y_prob=P3, resamples=200)
    assert found.a.value == pytest.approx(getattr(alone, metric).value)
    assert found.metric == metric
    with pytest.raises(BadInput, match=r"y_score_a.*lies outside \[0, 1\]"):
        stats.paired_difference(Y, A, B, metric=metric)


def test_paired_average_precision_takes_any_scores() -> None:
    found = stats.paired_difference(Y, A, B, metric="average_precision", resamples=200)
    assert found.a.value == pytest.approx(average_precision_score(Y, A))
    with pytest.raises(BadInput, match="no primary metric 'auc'"):
        stats.paired_difference(Y, P, P, metric="auc")
    with pytest.raises(BadInput, match="y_true has 300 cases, y_score_b has 299"):
        stats.paired_difference(Y, A, B[:-1])


def test_operating_point_is_that_of_evaluate() -> None:
    point = stats.operating_point(Y, P, target=0.9, groups=GROUPS)
    (theirs,) = lesionlab.evaluate(
        y_true=Y, y_prob=P, groups=GROUPS, split="valid", policy="sensitivity_bound", target=0.9,
        resamples=50,
    ).operating_points  # fmt: skip
    assert theirs["threshold"] == point.threshold
    assert point.to_json() == theirs["chosen"]
    assert point.score == ("1",)
    with pytest.raises(BadInput, match="never chosen on test"):
        stats.operating_point(Y, P, split="test")
    with pytest.raises(BadInput, match="positive classes are not known"):
        stats.operating_point(Y3, P3)
    with pytest.raises(BadInput, match="needs 59"):
        stats.operating_point(Y[:60], P[:60])


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_conformal_sets_hold_the_truth(method: str) -> None:
    half = N // 2
    rule = stats.conformal(Y3[:half], P3[:half], method=method, alpha=0.2)
    sets = stats.prediction_sets(rule, P3[half:])
    assert sets.shape == (half, 3)
    assert sets[np.arange(half), Y3[half:]].mean() > 0.7
    with pytest.raises(BadInput, match="never calibrated on test"):
        stats.conformal(Y3, P3, split="test")
    with pytest.raises(BadInput, match="needs 9"):
        stats.conformal(Y3[:12], P3[:12])


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic", "dirichlet"])
def test_calibrations_lower_the_loss_and_keep_the_shape(method: str) -> None:
    sure = softmax(4 * Z3, axis=1)
    fitted = stats.calibrate(Y3, sure, method=method)
    better = fitted.apply(sure)
    assert better.shape == sure.shape
    np.testing.assert_allclose(better.sum(axis=1), 1)
    before, after = (-np.log(p[np.arange(N), Y3].clip(1e-12)).mean() for p in (sure, better))
    assert after < before
    one = stats.calibrate(Y, P, method=method).apply(torch.tensor(P))
    assert one.shape == (N,)
    assert fitted.to_json()["classes"] == ["0", "1", "2"]


def test_logits_are_calibrated_as_their_probabilities() -> None:
    by_logit = stats.calibrate(Y3, y_logit=3 * Z3).fitted.to_json()["temperature"]
    by_prob = stats.calibrate(Y3, softmax(3 * Z3, axis=1)).fitted.to_json()["temperature"]
    assert by_logit == pytest.approx(by_prob, rel=1e-6)
    table = pd.DataFrame(3 * Z3, columns=["logit_0", "logit_1", "logit_2"])
    turned = table[["logit_2", "logit_0", "logit_1"]]
    assert stats.calibrate(Y3, y_logit=turned).fitted.to_json()["temperature"] == pytest.approx(
        by_logit
    )
    with pytest.raises(BadInput, match="either y_prob or y_logit"):
        stats.calibrate(Y3)
    with pytest.raises(BadInput, match="2 classes, but the calibration has 3"):
        stats.calibrate(Y3, P3).apply(P)


def test_a_positive_class_that_stands_first_is_calibrated_as_itself() -> None:
    names = np.where(Y == 1, "ill", "well")
    by_name = stats.calibrate(names, P, positive="ill", method="platt").apply(P)
    by_number = stats.calibrate(Y, P, method="platt").apply(P)
    np.testing.assert_allclose(by_name, by_number, atol=1e-6)


def test_models_in_another_order_are_not_paired() -> None:
    other = pd.Series(B).sample(frac=1, random_state=1)
    with pytest.raises(BadInput, match="indexes of y_score_a and y_score_b differ"):
        stats.paired_difference(Y, pd.Series(A), other)


def test_prediction_sets_reads_columns_by_name_and_refuses_another_shape() -> None:
    rule = stats.conformal(Y, P, alpha=0.1)
    both = np.stack([1 - P, P], axis=1)
    expected = stats.prediction_sets(rule, both).tolist()
    table = pd.DataFrame({"1": P, "0": 1 - P})
    assert stats.prediction_sets(rule, table).tolist() == expected
    assert stats.prediction_sets(rule, torch.tensor(both)).tolist() == expected
    for wrong in (P, P3):
        with pytest.raises(BadInput, match=r"y_prob: its shape is .*give \(N, 2\)"):
            stats.prediction_sets(rule, wrong)
