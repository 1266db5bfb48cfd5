"""Hand and Till's AUC: its value pair by pair, and its variance between groups."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.hand_till import pairwise_auc
from lesionlab.evaluation.headline import headline_metric
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.metric_table import METRICS
from lesionlab.evaluation.metrics import roc_auc
from lesionlab.evaluation.paired import delong


def study(groups: int = 120, images: int = 1, k: int = 4, seed: int = 0) -> tuple[Ints, Floats]:
    """Labels and probabilities of groups that share a label and an effect."""
    generator = np.random.default_rng(seed)
    y_true = np.repeat(generator.integers(0, k, groups), images)
    z = np.repeat(generator.normal(size=(groups, k)), images, axis=0)
    z += generator.normal(size=z.shape) + 1.5 * np.eye(k)[y_true]
    return y_true, np.exp(z) / np.exp(z).sum(1, keepdims=True)


def measured(y_true: Ints, y_prob: Floats, codes: Ints) -> Measure:
    names = tuple("abcdefg"[: y_prob.shape[1]])
    c = Cases(names, y_true, y_prob, y_prob.argmax(1), None, codes, int(codes.max()) + 1, {},
              frozenset())  # fmt: skip
    m = measure_cases(c, resamples=20, seed=0, bands=False)
    return headline_metric(m, METRICS["hand_till_auc"])


def test_it_is_the_mean_over_pairs_of_two_areas_each() -> None:
    y_true, y_prob = study()
    areas = []
    for i, j in itertools.combinations(range(4), 2):
        rows = (y_true == i) | (y_true == j)
        by_i = roc_auc(y_true[rows] == i, y_prob[rows, i])
        by_j = roc_auc(y_true[rows] == j, y_prob[rows, j])
        areas.append((by_i + by_j) / 2)
    assert pairwise_auc(y_true, y_prob).value == pytest.approx(np.mean(areas))


def test_how_frequent_the_classes_are_does_not_matter() -> None:
    y_true, y_prob = study()
    rows = np.concatenate([np.arange(120), *[np.flatnonzero(y_true == 2)] * 5])
    again = pairwise_auc(y_true[rows], y_prob[rows]).value
    assert again == pytest.approx(pairwise_auc(y_true, y_prob).value)


def test_an_absent_class_is_in_no_pair_and_a_single_class_has_none() -> None:
    y_true, y_prob = study()
    kept = y_true != 3
    found = pairwise_auc(y_true[kept], y_prob[kept])
    assert found.value == pytest.approx(pairwise_auc(y_true[kept], y_prob[kept, :3]).value)
    assert math.isnan(pairwise_auc(np.zeros(5, int), y_prob[:5]).value)
    assert measured(np.zeros(5, int), y_prob[:5], np.arange(5)).value is None


def test_of_two_classes_it_is_the_area_with_the_variance_of_delong() -> None:
    y_true, y_prob = study(k=2)
    found, one = pairwise_auc(y_true, y_prob), delong(y_true == 1, y_prob[None, :, 1])
    assert found.value == pytest.approx(one.auc[0])
    assert found.spread().variance == pytest.approx(one.covariance[0, 0])


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("mixed", [False, True])
def test_its_variance_is_that_of_resampled_groups(images: int, mixed: bool) -> None:
    y_true, y_prob = study(150, images, seed=1)
    codes = np.repeat(np.arange(150), images)
    if mixed:
        codes = codes % 75  # two patients' images are one's
    generator = np.random.default_rng(2)
    members = [np.flatnonzero(codes == g) for g in range(codes.max() + 1)]
    values = []
    for _ in range(600):
        drawn = generator.integers(0, len(members), len(members))
        rows = np.concatenate([members[g] for g in drawn])
        values.append(pairwise_auc(y_true[rows], y_prob[rows]).value)
    found = pairwise_auc(y_true, y_prob, codes).spread().variance
    assert found == pytest.approx(np.var(values), rel=0.2)


def test_equal_images_of_a_group_add_nothing() -> None:
    y_true, y_prob = study()
    once = pairwise_auc(y_true, y_prob).spread()
    twice = pairwise_auc(np.tile(y_true, 2), np.tile(y_prob, (2, 1)), np.tile(np.arange(120), 2))
    assert twice.spread().variance == pytest.approx(once.variance)
    assert twice.spread().df == pytest.approx(once.df)


def test_the_interval_and_too_few() -> None:
    y_true, y_prob = study()
    m = measured(y_true, y_prob, np.arange(120))
    assert m.low is not None
    assert m.value is not None
    assert m.high is not None
    assert m.low < m.value < m.high < 1
    assert m.method == "logit t, DeLong over pairs of classes, 120 groups"
    few = measured(y_true[:10], y_prob[:10], np.arange(10))
    assert few.low is None
    assert few.method.startswith("too few to say")


@pytest.mark.slow
def test_it_covers_with_few_groups_of_the_rarest_class() -> None:
    """Of 70 patients with three images each; without the groups it covers 82 %."""
    true = pairwise_auc(*study(60_000, seed=9)).value
    held, ignored = 0, 0
    for seed in range(400):
        y_true, y_prob = study(70, 3, seed=seed)
        m = measured(y_true, y_prob, np.repeat(np.arange(70), 3))
        held += m.low is not None and m.high is not None and m.low <= true <= m.high
        n = measured(y_true, y_prob, np.arange(210))
        ignored += n.low is not None and n.high is not None and n.low <= true <= n.high
    assert held / 400 > 0.92
    assert ignored < held - 20
