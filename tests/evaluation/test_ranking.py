"""Metrics of a score's order, under weights of groups: as if the rows were copied so often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lesionlab.array_types import Floats
from lesionlab.evaluation import ranking
from lesionlab.evaluation.ranking import RankedCounts, rank, ranked_counts

METRICS: dict[str, Callable[[RankedCounts], Floats]] = {
    "roc_auc": ranking.roc_auc,
    "average_precision": ranking.average_precision,
    "interpolated_pr_area": ranking.interpolated_pr_area,
    "partial_auc": ranking.partial_auc,
    "sensitivity": lambda c: ranking.sensitivity_at_specificity(c, 0.8),
    "specificity": lambda c: ranking.specificity_at_sensitivity(c, 0.8),
    "sensitivity_along": lambda c: ranking.sensitivity_along(c, np.linspace(0, 1, 11)),
    "precision_along": lambda c: ranking.precision_along(c, np.linspace(0, 1, 11)),
}


def counted(positive: list[bool], score: list[float]) -> RankedCounts:
    return ranked_counts(rank(np.array(positive, bool), np.array(score)))


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("metric", METRICS)
def test_group_counts_are_copies_of_the_rows(metric: str, decimals: int) -> None:
    rng = np.random.default_rng(0)
    positive, score = rng.random(40) < 0.4, np.round(rng.random(40), decimals)
    codes, counts = np.arange(40) % 12, rng.integers(0, 3, (12, 5)).astype(float)
    together = METRICS[metric](ranked_counts(rank(positive, score, codes), counts))
    for b in range(5):
        rows = np.repeat(np.arange(40), counts[codes, b].astype(int))
        alone = METRICS[metric](ranked_counts(rank(positive[rows], score[rows])))
        np.testing.assert_allclose(together[b], alone[0], atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_only_the_order_counts_and_not_that_of_the_rows(metric: str) -> None:
    rng = np.random.default_rng(1)
    positive, score = rng.random(50) < 0.4, np.round(rng.normal(size=50), 1)
    found = METRICS[metric](ranked_counts(rank(positive, score)))
    turned = rng.permutation(50)
    for other, s in ((positive, np.exp(score) - 9), (positive[turned], score[turned])):
        again = METRICS[metric](ranked_counts(rank(other, s)))
        np.testing.assert_allclose(again, found, atol=1e-12)


@pytest.mark.parametrize("metric", [m for m in METRICS if m != "precision_along"])
@pytest.mark.parametrize("positive", [[], [False, False]])
@pytest.mark.filterwarnings("error")
def test_without_a_positive_case_all_is_undefined(metric: str, positive: list[bool]) -> None:
    """`precision_along` is left out: its callers have a positive case."""
    assert np.isnan(METRICS[metric](counted(positive, [0.5] * len(positive)))).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_with_positive_cases_alone_every_call_is_right(metric: str) -> None:
    found = METRICS[metric](counted([True, True], [0.5, 0.7]))
    if metric in ("roc_auc", "partial_auc", "sensitivity", "specificity"):
        assert np.isnan(found).all()
    else:
        np.testing.assert_allclose(found, 1)


def test_blocks_of_tied_scores() -> None:
    """Scores 3: + ; 2: + - - ; 1: - ; so the tie stands half above, half below."""
    c = counted([True, True, False, False, False], [3, 2, 2, 2, 1])
    assert c.tp[:, 0].tolist() == [1, 2]
    assert c.fp[:, 0].tolist() == [0, 2]
    assert c.fp_before[:, 0].tolist() == [0, 0]
    assert (c.positives[0], c.negatives[0]) == (2, 3)
    assert ranking.roc_auc(c)[0] == pytest.approx((3 + 1 + 2 / 2) / 6)
    assert ranking.average_precision(c)[0] == pytest.approx(1 / 2 + 1 / 2 * 2 / 4)
    assert ranking.sensitivity_at_specificity(c, 1.0)[0] == 0.5
    assert ranking.specificity_at_sensitivity(c, 1.0)[0] == pytest.approx(1 / 3)


def test_a_share_that_is_met_exactly_counts() -> None:
    """19 of 20 is 0.95, though 1 - 0.95 is a hair below 1 / 20."""
    positive = [True] + [False] * 20
    c = counted(positive, [0.5, 0.9] + [0.1] * 19)
    assert ranking.sensitivity_at_specificity(c, 0.95)[0] == 1
    assert ranking.sensitivity_at_specificity(c, 0.951)[0] == 0
    assert ranking.sensitivity_along(c, np.array([0.049, 0.05]))[0].tolist() == [0, 1]


def test_weights_of_rows_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    positive, score, weight = rng.random(60) < 0.5, np.round(rng.random(60), 1), rng.random(60)
    c = ranked_counts(rank(positive, score, sample_weight=weight))
    auc = roc_auc_score(positive, score, sample_weight=weight)
    assert ranking.roc_auc(c)[0] == pytest.approx(auc, abs=1e-12)
    precision = average_precision_score(positive, score, sample_weight=weight)
    assert ranking.average_precision(c)[0] == pytest.approx(precision, abs=1e-12)


def test_turned_scores_turn_the_area() -> None:
    rng = np.random.default_rng(3)
    positive, score = rng.random(30) < 0.5, np.round(rng.random(30), 1)
    up, down = (ranking.roc_auc(ranked_counts(rank(positive, s)))[0] for s in (score, -score))
    assert up + down == pytest.approx(1, abs=1e-12)
