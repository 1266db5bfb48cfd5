"""Limits from a spread: by hand, by scipy, and degrees of freedom by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.evaluation.limits import (
    LEAST_DF,
    Limits,
    Spread,
    difference_limits,
    log_limits,
    logit_limits,
    lower_bound,
    mean_limits,
    not_narrower,
    share_limits,
    spread_of_replicates,
    spread_of_sums,
    wilson,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263), (59, 59)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    test = stats.binomtest(hits, n)
    ours, theirs = wilson(hits / n, n), test.proportion_ci(method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_59_of_59_puts_the_lower_bound_above_95_percent_and_58_of_58_does_not() -> None:
    assert lower_bound(59, 59) == pytest.approx(0.05 ** (1 / 59))
    assert lower_bound(59, 59) > 0.95 > lower_bound(58, 58)
    assert lower_bound(0, 10) == 0


def test_the_t_quantile_widens() -> None:
    narrow, wide = wilson(0.8, 50), wilson(0.8, 50, df=9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert wilson(0.8, 50, df=10**7) == pytest.approx(narrow)


def known(variance: float) -> Spread:
    """A variance that is known as well as the groups allow."""
    return Spread(variance, np.inf)


def test_logit_limits_by_hand() -> None:
    found = logit_limits(0.8, known(0.05**2), 11)
    half = stats.t.ppf(0.975, 10) * 0.05 / 0.16
    centre = np.log(4)
    expected = [1 / (1 + np.exp(-(centre + s * half))) for s in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(expected)


def test_other_bounds_are_a_change_of_scale() -> None:
    plain = logit_limits(0.8, known(0.01), 30)
    wide = logit_limits(0.6, known(0.04), 30, (-1.0, 1.0))
    assert (wide.low, wide.high) == pytest.approx((2 * plain.low - 1, 2 * plain.high - 1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_at_the_border_each_group_counts_as_one_case(value: float) -> None:
    found = logit_limits(value, known(0.0), 20)
    assert found.method == "Wilson on groups"
    assert found.high - found.low == pytest.approx(1.96**2 / (20 + 1.96**2), rel=1e-3)
    assert 0 <= found.low <= value <= found.high <= 1


def test_log_limits_stay_positive() -> None:
    found = log_limits(0.3, known(0.2**2), 5)
    assert 0 < found.low < 0.3 < found.high
    assert np.isnan(log_limits(0.0, known(0.0), 5).low)


def test_mean_limits_of_independent_normal_parts_are_those_of_the_mean() -> None:
    values, half = np.array([0.4, 0.6, 0.8]), np.array([0.1, 0.2, 0.05])
    found = mean_limits(values, values - half, values + half, np.eye(3))
    expected = np.sqrt((half**2).sum()) / 3
    assert (found.low, found.high) == pytest.approx((0.6 - expected, 0.6 + expected))


def test_mean_limits_of_identical_parts_are_those_of_one() -> None:
    values = np.full(4, 0.7)
    found = mean_limits(values, values - 0.1, values + 0.2, np.ones((4, 4)))
    assert (found.low, found.high) == pytest.approx((0.6, 0.9))


def test_the_spread_of_sums_is_the_variance_between_groups() -> None:
    off = np.random.default_rng(0).normal(size=500)
    off -= off.mean()
    found = spread_of_sums(off / 500)
    assert found.variance == pytest.approx(off.var(ddof=1) / 500)
    assert 300 < found.df <= 499  # kurtosis 3: about the number of groups


def test_a_variance_that_hangs_on_one_group_is_worth_the_least_degrees_of_freedom() -> None:
    off = np.zeros(200)
    off[7] = 1.0
    assert spread_of_sums(off).df == LEAST_DF
    off[:20] = 1.0  # kurtosis (1 - 3 p q) / (p q)
    kurtosis = (1 - 3 * 0.1 * 0.9) / (0.1 * 0.9)
    assert spread_of_sums(off).df == pytest.approx(2 * 200 / (kurtosis - 1))
    assert spread_of_sums(np.zeros(5)).variance == 0
    assert spread_of_sums(np.zeros(0)).df >= 1


def test_satterthwaite_degrees_of_freedom_are_those_of_the_simulated_variance() -> None:
    """The relative variance of a sample variance is 2 / df."""
    rng = np.random.default_rng(1)
    drawn = rng.exponential(size=(4000, 400))
    seen = drawn.var(axis=1, ddof=1)
    wanted = 2 / (seen.var() / seen.mean() ** 2)  # exponential: kurtosis 9, df = n / 4
    dfs = [spread_of_sums((row - row.mean()) / 400).df for row in drawn[:300]]
    assert np.median(dfs) == pytest.approx(wanted, rel=0.35)


def test_replicates_and_sums_tell_the_same_degrees_of_freedom() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.zeros(57), [1.0, 1.0, 3.0]])
    centred = (values - values.mean()) / 60
    counts = rng.multinomial(60, np.full(60, 1 / 60), size=40_000)
    drawn, direct = spread_of_replicates(counts @ values / 60), spread_of_sums(centred)
    assert drawn.variance == pytest.approx(direct.variance, rel=0.05)
    # Excess kurtosis / n leaves out the 2 / n of a normal sample.
    assert 1 / drawn.df + 1 / 60 == pytest.approx(1 / direct.df, rel=0.15)


def test_chance_in_the_replicates_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    dfs = [spread_of_replicates(rng.normal(size=2000)).df for _ in range(200)]
    assert np.mean(np.isinf(dfs)) > 0.75
    assert min(dfs) > 8


def test_few_replicates_say_nothing() -> None:
    assert spread_of_replicates(np.array([np.nan, 0.3])) == Spread(0.0, 1.0)
    assert spread_of_replicates(np.full(50, 0.3)).df == np.inf
    assert spread_of_replicates(np.array([0.0] * 99 + [1.0])).df == LEAST_DF


def test_the_limits_of_a_difference_by_hand() -> None:
    """Newcombe 1998, method 10, without correlation: method 8 for independent proportions."""
    first, second = Limits(0.6, 0.9, ""), Limits(0.3, 0.7, "")
    found = difference_limits((0.8, 0.5), first, second, 0.0)
    assert found.low == pytest.approx(0.3 - np.hypot(0.2, 0.2))
    assert found.high == pytest.approx(0.3 + np.hypot(0.1, 0.2))
    same = difference_limits((0.8, 0.5), first, Limits(0.3, 0.6, ""), 1.0)
    assert same.low == pytest.approx(0.3 - 0.1)  # |0.2 - 0.1|
    turned = difference_limits((0.5, 0.8), second, first, 0.4)
    straight = difference_limits((0.8, 0.5), first, second, 0.4)
    assert (turned.low, turned.high) == pytest.approx((-straight.high, -straight.low))


def test_newcombes_example_of_paired_proportions() -> None:
    """Both models all right on 30 images: their difference may still be 0.11 or more."""
    both = Limits(*wilson(1.0, 30), "")
    found = difference_limits((1.0, 1.0), both, both, 0.0)
    assert found.high == pytest.approx(-found.low)
    assert found.high > 0.11


def test_share_limits_are_wilsons_on_the_effective_n() -> None:
    found = share_limits(0.9, Spread(0.9 * 0.1 / 70, 4.0), 30)
    assert (found.low, found.high) == pytest.approx(wilson(0.9, 70, df=29))
    for value in (0.0, 1.0):
        border = share_limits(value, Spread(0.0, 4.0), 30)
        assert (border.low, border.high) == pytest.approx(wilson(value, 30))


def test_the_limits_of_a_difference_are_not_narrower_than_t() -> None:
    wide, narrow = Limits(-0.5, 0.5, "m"), Limits(0.09, 0.11, "m")
    half = stats.t.ppf(0.975, 19) * 0.02
    found = not_narrower(narrow, 0.1, Spread(0.02**2, np.inf), 20)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert not_narrower(wide, 0.1, Spread(0.02**2, np.inf), 20) == wide
