from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from lesionlab.evaluation.curves import (
    bands,
    corners,
    curve_json,
    pr_curve,
    roc_curve,
    thin,
    wilson_band,
)
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.intervals import MINIMUM_GROUPS
from lesionlab.evaluation.limits import wilson
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.metric_table import RANKING_METRICS
from lesionlab.evaluation.predictions import Predictions


def scores(n: int = 500, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    positive = generator.random(n) < 0.3
    score = generator.normal(size=n) + positive
    return positive, np.round(score, 1) if ties else score, generator.random(n)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_curves_agree_with_scikit_learn(ties: bool, weighted: bool) -> None:
    positive, score, weight = scores(ties=ties)
    w = weight if weighted else None
    fpr, tpr, cut = sk.roc_curve(positive, score, sample_weight=w, drop_intermediate=False)
    for ours, theirs in zip(roc_curve(positive, score, w), (fpr, tpr, cut), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    precision, recall, cut = sk.precision_recall_curve(positive, score, sample_weight=w)
    ours = pr_curve(positive, score, w)
    np.testing.assert_allclose(ours[0], recall[:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(ours[1], precision[:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(ours[2], cut[::-1])


def test_thinning_keeps_the_ends_and_the_shape() -> None:
    positive, score, _ = scores(20000)
    fpr, tpr, _ = roc_curve(positive, score)
    kept = thin(fpr, tpr)
    assert len(kept) <= 200
    assert (kept[0], kept[-1]) == (0, len(fpr) - 1)
    area = np.trapezoid(tpr[kept], fpr[kept])
    assert area == pytest.approx(np.trapezoid(tpr, fpr), abs=1e-3)


def test_a_short_curve_keeps_its_corners_only() -> None:
    x, y = np.array([0, 0, 0, 0.5, 1.0]), np.array([0, 0.5, 1, 1, 1.0])
    assert corners(x, y).tolist() == [0, 2, 4]
    assert thin(x, y).tolist() == [0, 2, 4]
    assert corners(x[:2], y[:2]).tolist() == [0, 1]


def test_json_has_null_for_the_infinite_threshold() -> None:
    positive, score, _ = scores(50)
    found = curve_json(positive, score)
    assert found["roc"]["threshold"][0] is None
    assert found["roc"]["band"] is None


def measured(positives: int, n: int = 300) -> Measured:
    generator = np.random.default_rng(0)
    y = (np.arange(n) < positives).astype(np.int64)
    p = 1 / (1 + np.exp(-generator.normal(1.5 * y - 1, 1)))
    ids = np.array([f"i{i}" for i in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    data = Predictions(ids, blank, blank, ("benign", "mel"), y, np.stack([1 - p, p], axis=1))
    return measure_cases(cases_of(data, ("mel",), None), resamples=300, seed=0)


def test_a_point_of_the_band_is_near_the_interval_of_that_sensitivity() -> None:
    m = measured(80)
    roc = bands(m, "mel")["roc"]
    at90 = m.ranked("sensitivity_at_specificity_90", "mel")
    row = roc["fpr"].index(0.1)
    assert roc["low"][row] == pytest.approx(at90.low, abs=0.03)
    assert roc["high"][row] == pytest.approx(at90.high, abs=0.03)
    assert (roc["low"][-1], roc["high"][-1]) == (1, 1)


def test_too_few_groups_have_no_band() -> None:
    few = RANKING_METRICS["sensitivity_at_specificity_80"].minimum - 1
    assert bands(measured(few), "mel")["roc"] is None
    assert bands(measured(few + 1), "mel")["roc"] is not None


def test_a_precision_of_few_positives_has_no_band() -> None:
    pr = bands(measured(100), "mel")["pr"]  # the fewest of 100 are found at recall 0.25
    known = ~np.isnan(pr["low"])
    assert not known[: MINIMUM_GROUPS["proportion"]].any()
    assert known[MINIMUM_GROUPS["proportion"] :].all()


def test_a_whole_curve_is_as_its_points() -> None:
    value, variance = np.array([0.0, 0.3, 0.9, 1.0, np.nan]), np.array([0, 0.01, 0.002, 0, 0.1])
    low, high = wilson_band(value, variance, 25)
    for k, n in ((0, 25), (1, 21), (2, 45), (3, 25)):
        assert (low[k], high[k]) == pytest.approx(wilson(value[k], n, df=24))
    assert np.isnan(low[4])
    assert np.isnan(high[4])
