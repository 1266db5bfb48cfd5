from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.evaluation.resampled import (
    correlations,
    harmonic,
    log_limits,
    logit_limits,
    mean_limits,
)


def test_logit_limits_by_hand() -> None:
    found = logit_limits(0.8, 0.05**2, 11)
    half = stats.t.ppf(0.975, 10) * 0.05 / 0.16
    centre = np.log(4)
    expected = [1 / (1 + np.exp(-(centre + s * half))) for s in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(expected)


def test_other_bounds_are_a_change_of_scale() -> None:
    plain = logit_limits(0.8, 0.01, 30)
    wide = logit_limits(0.6, 0.04, 30, (-1.0, 1.0))
    assert (wide.low, wide.high) == pytest.approx((2 * plain.low - 1, 2 * plain.high - 1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_at_the_border_each_group_counts_as_one_case(value: float) -> None:
    found = logit_limits(value, 0.0, 20)
    assert found.method == "Wilson on groups"
    assert found.high - found.low == pytest.approx(1.96**2 / (20 + 1.96**2), rel=1e-3)
    assert 0 <= found.low <= value <= found.high <= 1


def test_log_limits_stay_positive() -> None:
    found = log_limits(0.3, 0.2**2, 5)
    assert 0 < found.low < 0.3 < found.high
    assert np.isnan(log_limits(0.0, 0.0, 5).low)


def test_mean_limits_of_independent_normal_parts_are_those_of_the_mean() -> None:
    values, half = np.array([0.4, 0.6, 0.8]), np.array([0.1, 0.2, 0.05])
    found = mean_limits(values, values - half, values + half, np.eye(3))
    expected = np.sqrt((half**2).sum()) / 3
    assert (found.low, found.high) == pytest.approx((0.6 - expected, 0.6 + expected))


def test_mean_limits_of_identical_parts_are_those_of_one() -> None:
    values = np.full(4, 0.7)
    found = mean_limits(values, values - 0.1, values + 0.2, np.ones((4, 4)))
    assert (found.low, found.high) == pytest.approx((0.6, 0.9))


def test_correlations_ignore_what_is_undefined_or_constant() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=500)
    drawn = np.stack([x, x, np.ones(500)], axis=1)
    drawn[:7] = np.nan
    np.testing.assert_allclose(correlations(drawn), [[1, 1, 0], [1, 1, 0], [0, 0, 1]], atol=1e-9)
    np.testing.assert_array_equal(correlations(np.full((5, 2), np.nan)), np.eye(2))


def test_the_harmonic_mean_is_ruled_by_the_rarest() -> None:
    assert harmonic(np.array([10, 10])) == 10
    assert harmonic(np.array([5, 1000])) < 10
