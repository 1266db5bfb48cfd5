"""The paired difference: its interval from both models' own, and the tests beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from helpers.two_models import THREE, TWO, predictions
from lesionlab.evaluation import metrics
from lesionlab.evaluation.difference import (
    Difference,
    _partial,
    _precision,
    difference_of,
    difference_test,
    simultaneous,
)
from lesionlab.evaluation.limits import wilson
from lesionlab.evaluation.paired import delong
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import PRIMARIES, measured, primary_of


def difference(name: str, a: Predictions, b: Predictions, resamples: int = 200) -> Difference:
    malignant = (a.classes[1],)
    metric = primary_of(name, a.classes, malignant)
    x, y = (measured(p, metric, malignant, resamples=resamples) for p in (a, b))
    return difference_of(metric, x, y)


def test_the_quick_areas_are_the_metrics_own() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        positive, score = rng.random(40) < 0.3, np.round(rng.random(40), seed % 3 + 1)
        positive[:2] = (True, False)
        wanted = metrics.average_precision(positive, score), metrics.partial_auc(positive, score)
        found = _precision(positive, score), _partial(positive, score)
        assert found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", PRIMARIES)
@pytest.mark.parametrize("classes", [TWO, THREE])
def test_limits_turn_round_with_the_models(name: str, classes: tuple[str, ...]) -> None:
    a, b = (predictions(classes, s, k, 400, 200) for s, k in ((2.0, 1), (1.0, 2)))
    ab, ba = difference(name, a, b), difference(name, b, a)
    assert ab.value == pytest.approx(-ba.value, abs=1e-12)
    assert ab.limits().low == pytest.approx(-ba.limits().high, abs=1e-12)
    assert ab.limits().low < ab.value < ab.limits().high


def test_a_higher_level_is_wider() -> None:
    a, b = predictions(TWO, 2, 1, 200), predictions(TWO, 1, 2, 200)
    for name in ("roc_auc", "accuracy", "balanced_accuracy", "nll"):
        found = difference(name, a, b)
        assert found.limits(0.99).low < found.limits(0.95).low < found.limits(0.5).low


def test_accuracy_is_newcombes_interval_with_the_observed_correlation() -> None:
    """Newcombe 1998, method 10 without continuity correction, by its formula."""
    a, b = predictions(TWO, 2, 1, 300), predictions(TWO, 1, 2, 300)
    right = [metrics.decide(p.y_prob) == p.y_true for p in (a, b)]
    p1, p2 = (float(r.mean()) for r in right)
    (l1, u1), (l2, u2) = wilson(p1, 300), wilson(p2, 300)
    phi = float(np.corrcoef(*right)[0, 1])
    low = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    high = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    found = difference("accuracy", a, b, 4000).limits()
    assert found.low == pytest.approx(p1 - p2 - low, abs=0.002)
    assert found.high == pytest.approx(p1 - p2 + high, abs=0.002)


def test_the_correlation_of_two_areas_is_delongs() -> None:
    a, b = predictions(TWO, 2, 1, 200), predictions(TWO, 1, 2, 200)
    (component,) = difference("roc_auc", a, b).components
    found = delong(a.y_true == 1, np.stack([a.y_prob[:, 1], b.y_prob[:, 1]])).covariance
    assert component.correlation == pytest.approx(found[0, 1] / np.sqrt(found[0, 0] * found[1, 1]))


def test_models_that_never_differ_are_not_discordant() -> None:
    a = predictions(TWO, 2, 1, 200)
    assert not difference("roc_auc", a, a).discordant
    assert difference("roc_auc", a, predictions(TWO, 2, 2, 200)).discordant


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "roc_auc", "nll"])
def test_the_same_model_twice_has_an_interval_of_some_width(name: str) -> None:
    """As if one more case had told them apart: an equal answer on these cases is no proof."""
    a = predictions(TWO, 1.0, 1, 200)
    found = difference(name, a, a).limits()
    assert found.low < -1e-3
    assert found.high == pytest.approx(-found.low, rel=1e-6)
    if name == "accuracy":  # by Newcombe's formula
        p = float((metrics.decide(a.y_prob) == a.y_true).mean())
        low, high = wilson(p, 200)
        phi = 1 - 1 / (2 * 200 * p * (1 - p))
        x, y = p - low, high - p
        assert found.high == pytest.approx(math.sqrt(x * x + y * y - 2 * phi * x * y), rel=1e-6)


def test_the_level_for_several_pairs() -> None:
    assert simultaneous(0.95, 1) == pytest.approx(0.95)
    assert 1 - simultaneous(0.95, 10) == pytest.approx(0.005)


def test_every_metric_has_a_test_that_knows_equal_models() -> None:
    a = predictions(THREE, 1.5, 1, 120, 60)
    for name in PRIMARIES:
        metric = primary_of(name, THREE, (THREE[1],))
        cases = measured(a, metric, (THREE[1],), resamples=20).cases
        assert difference_test(metric, cases, cases, 0)[0] == 1.0


def test_areas_that_no_case_tells_apart_may_differ_by_unseen_cases() -> None:
    """Of 100 positives none was lost: Wilson allows 3.7 %, each lost entirely."""
    y = np.arange(300) < 100
    ids, blank = np.array([f"i{k}" for k in range(300)], object), np.full(300, "", object)
    p = np.where(y, 0.9, 0.1)
    table = Predictions(ids, blank, blank, TWO, y.astype(np.int64), np.stack([1 - p, p], axis=1))
    found = difference("roc_auc", table, table).limits()
    assert found.high == pytest.approx(wilson(0.0, 100)[1])
    assert found.high > 0.036
    assert found.low == -found.high


def test_a_tiny_table_has_no_p_of_0() -> None:
    y = np.arange(4) % 2
    ids, blank = np.array([f"i{k}" for k in range(4)], object), np.full(4, "", object)
    tables = [
        Predictions(ids, blank, blank, TWO, y, np.stack([1 - s, s], axis=1))
        for s in (np.where(y == 1, 0.9, 0.1), np.full(4, 0.5))
    ]
    metric = primary_of("roc_auc", TWO, ("malignant",))
    cases = [measured(t, metric, ("malignant",), resamples=20).cases for t in tables]
    p, test = difference_test(metric, *cases, 0)
    assert p > 0.1
    assert test == "permutation of 4 groups"


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "n", "positives"), [(0.8, 200, 60), (0.5, 200, 100)])
def test_the_interval_of_strongly_correlated_areas_covers(
    shift: float, n: int, positives: int
) -> None:
    """B is A, but for a shift of the positives: MOVER alone covered in 88 to 91 %."""
    rng, covers, studies = np.random.default_rng(6), 0, 200
    y = (np.arange(n) < positives).astype(np.int64)
    ids, blank = np.array([f"i{k}" for k in range(n)], object), np.full(n, "", object)
    area = [float(norm.cdf(mu / math.sqrt(2))) for mu in (3.0, 3.0 - shift)]
    for _ in range(studies):
        x = rng.normal(size=n) + 3 * y
        tables = []
        for score in (x, x - shift * y):
            p = 1 / (1 + np.exp(-score))
            tables.append(Predictions(ids, blank, blank, TWO, y, np.stack([1 - p, p], axis=1)))
        limits = difference("roc_auc", *tables, resamples=20).limits()
        covers += limits.low <= area[0] - area[1] <= limits.high
    assert covers >= 0.92 * studies


@pytest.mark.slow
def test_the_interval_of_strong_models_covers() -> None:
    """60 images, AUC 0.995 against 0.9995: DeLong +- 1.96 SE covered in 61 % of 600 studies."""
    rng, covers, studies = np.random.default_rng(5), 0, 150
    y = np.arange(60) % 2
    blank, ids = np.full(60, "", object), np.array([f"i{k}" for k in range(60)], object)
    for _ in range(studies):
        shared, models = rng.normal(size=60), []
        for distance in (3.643, 4.654):
            x = (shared + rng.normal(size=60)) / math.sqrt(2) + distance * (y - 0.5)
            p = 1 / (1 + np.exp(-x))
            models.append(Predictions(ids, blank, blank, TWO, y, np.stack([1 - p, p], axis=1)))
        limits = difference("roc_auc", *models, resamples=20).limits()
        covers += limits.low <= 0.995 - 0.9995 <= limits.high
    assert covers >= 0.93 * studies
