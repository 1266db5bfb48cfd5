"""A member without a network: colours, shapes and boosted trees."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_info, threadpool_limits

from lesionlab.experiments.handmade import (
    BINS,
    STRIDE,
    colour_features,
    crossed,
    fit_trees,
    tree_probabilities,
)


def test_a_fold_cannot_see_its_own_labels() -> None:
    """Features that say nothing must stay at chance, even where each row is its own code."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 300)
    features = generator.normal(size=(300, 4))
    folds = np.array([str(i % 3) for i in range(300)], object)
    y_prob = crossed(features, y, folds, 2)
    other = y.copy()
    inside = folds == "1"
    other[inside] = 1 - other[inside]
    assert crossed(features, other, folds, 2)[inside] == pytest.approx(y_prob[inside])


def test_trees_are_fitted_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = HistGradientBoostingClassifier.fit

    def fit(self: Any, *data: Any) -> Any:
        seen.extend(i["num_threads"] for i in threadpool_info() if i["user_api"] == "openmp")
        return plain(self, *data)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit)
    features = np.random.default_rng(0).normal(size=(90, 2))
    with threadpool_limits(2, "openmp"):
        fit_trees(features, np.arange(90) % 3, 2)
        after = {i["num_threads"] for i in threadpool_info() if i["user_api"] == "openmp"}
    assert set(seen) == {1}
    assert after == {2}  # the networks keep their threads


def test_colours_are_shares() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    found = colour_features(images)
    assert found[:, :125].sum(1) == pytest.approx(1)
    assert found[1] == pytest.approx(colour_features(images[1:2])[0])


def test_the_histogram_is_that_of_numpy() -> None:
    """Of every fourth pixel each way; quantiles come after it, channels within a quantile."""
    image = np.random.default_rng(1).integers(0, 256, (1, 18, 13, 3), np.uint8)
    flat = image[0, ::STRIDE, ::STRIDE].reshape(-1, 3)
    joint, _ = np.histogramdd(flat, bins=[np.arange(BINS + 1) * 256 / BINS] * 3)
    found = colour_features(image)[0]
    assert found[: BINS**3] == pytest.approx(joint.ravel() / len(flat))
    marks = np.quantile(flat / 255, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
    assert found[BINS**3 :].reshape(5, 3) == pytest.approx(marks)


def test_the_ends_of_the_scale_fall_into_the_first_and_the_last_bin() -> None:
    both = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])
    found = colour_features(both)
    assert found[0, 0] == found[1, BINS**3 - 1] == 1
    assert found[:, : BINS**3].sum(1).tolist() == [1, 1]
    assert found[0, BINS**3 :].tolist() == [0] * 15
    assert found[1, BINS**3 :].tolist() == [1] * 15


def test_a_turned_picture_of_the_looked_at_pixels_has_the_same_colours() -> None:
    small = np.random.default_rng(2).integers(0, 256, (1, 4, 4, 3), np.uint8)
    large = small.repeat(STRIDE, 1).repeat(STRIDE, 2)
    assert colour_features(large) == pytest.approx(colour_features(large[:, ::-1, ::-1]))


def test_a_class_that_the_trees_never_saw_gets_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(80, 2))
    y = np.where(features[:, 0] > 0, 3, 1)
    y_prob = tree_probabilities(fit_trees(features, y, 5), features, 5)
    assert y_prob[:, [0, 2, 4]].tolist() == [[0, 0, 0]] * 80
    assert y_prob.sum(1) == pytest.approx(1)
    assert roc_auc_score(y == 3, y_prob[:, 3]) > 0.95  # the columns are those of the classes


def test_unknown_shapes_are_no_obstacle_to_the_trees() -> None:
    features = np.random.default_rng(0).normal(size=(80, 2))
    y = (features[:, 0] > 0).astype(np.int64)
    features[::7, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y_prob = tree_probabilities(fit_trees(features, y, 5), features, 2)
    assert np.isfinite(y_prob).all()


def test_noise_is_not_learned_out_of_fold() -> None:
    """Had a fold seen its own labels, the trees would know them."""
    generator = np.random.default_rng(5)
    features, y = generator.normal(size=(240, 6)), generator.integers(0, 2, 240)
    folds = np.array([str(i % 2) for i in range(240)], object)
    inside = tree_probabilities(fit_trees(features, y), features, 2)
    assert roc_auc_score(y, inside[:, 1]) > 0.9
    assert 0.35 < roc_auc_score(y, crossed(features, y, folds, 2)[:, 1]) < 0.65


def test_the_same_data_give_the_same_trees() -> None:
    generator = np.random.default_rng(3)
    features, y = generator.normal(size=(90, 3)), generator.integers(0, 3, 90)
    first, second = (tree_probabilities(fit_trees(features, y, 4), features, 3) for _ in "ab")
    assert np.array_equal(first, second)
