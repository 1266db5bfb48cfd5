"""Intervals and differences on arrays are those that `evaluate` and `compare` give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit
from sklearn.metrics import average_precision_score, roc_auc_score

import lesionlab
from helpers.scored import GROUPS, P3, Y3, A, B, N, P, Y
from lesionlab import stats
from lesionlab.errors import BadInput


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


def test_models_in_another_order_are_not_paired() -> None:
    other = pd.Series(B).sample(frac=1, random_state=1)
    with pytest.raises(BadInput, match="indexes of y_score_a and y_score_b differ"):
        stats.paired_difference(Y, pd.Series(A), other)


def test_ranks_keep_ties_and_any_scale() -> None:
    """A tie counts half, as in scikit-learn; infinities are refused, not ranked."""
    rounded = np.round(A)
    found = stats.auc_interval(Y, 1e9 * rounded - 5)
    assert found.value == pytest.approx(roc_auc_score(Y, rounded), abs=1e-12)
    for wrong, shown in ((np.inf, "inf is not a finite number"), (np.nan, "nan is not a finite")):
        with pytest.raises(BadInput, match=rf"y_score\[7\]: {shown}"):
            stats.auc_interval(Y, np.where(np.arange(N) == 7, wrong, A))
    with pytest.raises(BadInput, match=r"y_score: its shape is .*one score per case"):
        stats.auc_interval(Y, np.stack([A, B], axis=1))


def test_few_groups_give_a_value_without_limits() -> None:
    found = stats.auc_interval(Y[:20], A[:20])
    assert found.value == pytest.approx(roc_auc_score(Y[:20], A[:20]))
    assert (found.low, found.high) == (None, None)
    assert "too few to say" in found.method


def test_cases_without_a_label_are_left_out() -> None:
    labels = [None if i % 5 == 0 else int(v) for i, v in enumerate(Y)]
    kept = np.arange(N) % 5 != 0
    found = stats.auc_interval(labels, A)
    assert found.n == kept.sum()
    assert found.value == pytest.approx(roc_auc_score(Y[kept], A[kept]), abs=1e-12)
