"""Means over groups: their intervals, when nothing is said, and how alike two maps are."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.intervals import MINIMUM_GROUPS
from lesionlab.explanation.statistics import (
    SHARE,
    SIGNED,
    balanced_measure,
    constant,
    hit_measure,
    mean_measure,
    rank_correlation,
    ratio_measure,
)


def named(sizes: list[int]) -> np.ndarray:
    """The group of each image, for groups of these sizes."""
    return np.repeat(np.arange(len(sizes)), sizes).astype(object)


def test_mean_measure_takes_the_group_as_its_unit() -> None:
    draw = np.random.default_rng(0)
    values = np.repeat(draw.normal(size=30), 10)  # ten copies of each tell nothing new
    once = mean_measure(values[::10], np.arange(30).astype(object))
    ten = mean_measure(values, np.repeat(np.arange(30), 10).astype(object))
    assert ten.low == pytest.approx(once.low)
    assert ten.high == pytest.approx(once.high)
    assert ten.n == 300


def test_mean_measure_covers_and_knows_when_it_cannot() -> None:
    draw = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 3).astype(object)
    hits = 0
    for _ in range(300):
        values = np.repeat(draw.normal(size=15), 3) + 0.5 * draw.normal(size=45)
        m = mean_measure(values, groups)
        assert m.low is not None
        assert m.high is not None
        hits += m.low <= 0 <= m.high
    assert 0.91 < hits / 300 < 0.99
    few = mean_measure(np.arange(4.0), np.arange(4).astype(object))
    assert few.low is None
    assert "too few" in few.method
    assert mean_measure(np.array([np.nan]), np.array(["a"], object)).value is None


def test_rank_correlation_ignores_the_scale_and_refuses_constants() -> None:
    a = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
    assert rank_correlation(a, np.exp(a)).tolist() == pytest.approx([1, 1])
    assert rank_correlation(a, -a).tolist() == pytest.approx([-1, -1])
    assert np.isnan(rank_correlation(a, np.zeros_like(a))).all()


def test_one_lesion_with_forty_images_is_worth_one_lesion() -> None:
    draw = np.random.default_rng(0)
    uneven = named([40] + [1] * 11)  # 12 groups, worth 1.6
    mean = mean_measure(draw.random(51), uneven)
    assert (mean.low, mean.n) == (None, 51)
    assert "1 groups, 10 needed" in mean.method
    assert mean_measure(draw.random(12), named([1] * 12)).low is not None
    hits = hit_measure(np.ones(69), named([40] + [1] * 29))  # 30 groups, worth 2.9
    assert (hits.value, hits.low) == (1, None)
    assert "2 groups, 25 needed" in hits.method
    assert hit_measure(np.ones(30), named([1] * 30)).low is not None


PROPORTION = MINIMUM_GROUPS["proportion"]
MEAN_OF_MAPS = MINIMUM_GROUPS["mean_of_maps"]


@pytest.mark.parametrize(("measured", "needed"), [(mean_measure, MEAN_OF_MAPS),
                                                  (hit_measure, PROPORTION)])  # fmt: skip
def test_equal_groups_count_fully(measured, needed: int) -> None:
    values = np.random.default_rng(0).random(3 * needed)
    assert measured(values, named([3] * needed)).low is not None
    assert measured(values[3:], named([3] * (needed - 1))).low is None


def test_intervals_of_unequal_groups_cover() -> None:
    draw, hits = np.random.default_rng(2), 0
    sizes = [8] + [1] * 24  # 25 groups, worth 11.6: by 24 degrees of freedom it covers 92.6 %
    groups = named(sizes)
    for _ in range(1000):
        values = np.repeat(draw.normal(size=25), sizes) + draw.normal(size=32)
        m = mean_measure(values, groups)
        assert m.low is not None
        assert m.high is not None
        hits += m.low <= 0 <= m.high
    assert 0.93 < hits / 1000 < 0.97


def test_bounded_intervals_stay_inside_and_do_not_collapse() -> None:
    groups = named([1] * 12)
    high = np.array([1.0] * 10 + [0.7, 0.2])
    free, inside = mean_measure(high, groups), mean_measure(high, groups, SHARE)
    assert free.high is not None
    assert inside.high is not None
    assert free.high > 1 > inside.high
    same = mean_measure(np.ones(12), groups, SIGNED)
    assert (same.value, same.high) == (1, 1)
    assert same.low is not None
    assert same.low < 0.8


def test_ratio_of_sums() -> None:
    draw = np.random.default_rng(0)
    whole, groups = draw.random(40) + 0.1, named([2] * 20)
    part = whole * draw.random(40)
    found = ratio_measure(part, whole, groups)
    assert found.value == pytest.approx(part.sum() / whole.sum())
    ones = ratio_measure(part, np.ones(40), groups)
    assert ones == mean_measure(part, groups)
    left_out = ratio_measure(np.append(part, np.nan), np.append(whole, 1), np.append(groups, 99))
    assert (left_out.value, left_out.n) == (found.value, 40)
    # The standard error of the ratio, against that of a bootstrap over the groups.
    pairs = np.stack([part, whole], 1).reshape(20, 2, 2).sum(1)
    drawn = pairs[draw.integers(0, 20, (4000, 20))].sum(1)
    spread = 2 * 2.093 * (drawn[:, 0] / drawn[:, 1]).std()
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low == pytest.approx(spread, rel=0.15)
    assert ratio_measure(np.zeros(3), np.zeros(3), named([1] * 3)).value is None


def test_balanced_mean_counts_classes_alike_and_covers() -> None:
    draw, hits = np.random.default_rng(3), 0
    labels = np.repeat([0, 1, 2], [120, 24, 16])
    groups = np.repeat(np.arange(80), 2).astype(object)
    true = np.array([0.8, 0.5, 0.3])
    for _ in range(300):
        chance = np.repeat(draw.beta(4 * true[labels[::2]], 4 * (1 - true[labels[::2]])), 2)
        values = draw.binomial(5, chance) / 5
        m = balanced_measure(values, labels, groups)
        assert m.low is not None
        assert m.high is not None
        hits += m.low <= true.mean() <= m.high
    means = [values[labels == k].mean() for k in range(3)]
    assert m.value == pytest.approx(np.mean(means))
    assert 0.91 < hits / 300 < 0.99


def test_a_rare_class_neither_collapses_nor_speaks_from_one_lesion() -> None:
    draw = np.random.default_rng(0)
    labels, values = np.repeat([0, 1, 2], [60, 60, 8]), draw.random(128)
    values[labels == 2] = 0  # no variation at all, yet eight cases do not prove a zero
    alone = named([1] * 128)
    m = balanced_measure(values, labels, alone)
    assert m.value is not None
    assert m.high is not None
    assert m.high - m.value > 0.1
    together = alone.copy()
    together[labels == 2] = "one lesion"
    assert "too few to say: 1 groups, 5 needed" in balanced_measure(values, labels, together).method
    two = labels < 2
    pairs = balanced_measure(values[two][30:80], labels[two][30:80], alone[two][30:80])
    assert pairs.low is not None  # 30 and 20 groups
    fewer = balanced_measure(values[two][30:75], labels[two][30:75], alone[two][30:75])
    assert "15 groups, 20 needed" in fewer.method


def test_rounding_is_no_map() -> None:
    noise = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    maps = np.stack([1 + 1e-7 * noise, 0 * noise, noise * np.nan, 1e-9 * noise, 1 + 0.01 * noise])
    assert constant(maps).tolist() == [True, True, True, False, False]
    assert np.isnan(rank_correlation(maps[:1], noise[None]))[0]
