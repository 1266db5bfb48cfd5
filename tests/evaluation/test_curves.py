from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from lesionlab.evaluation.curves import corners, curve_json, pr_curve, roc_curve, thin


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
