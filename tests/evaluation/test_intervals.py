from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.intervals import (
    LEAST_DF,
    Limits,
    Spread,
    clustered_lower_bound,
    clustered_proportion,
    correlations,
    difference_limits,
    harmonic,
    log_limits,
    logit_limits,
    lower_bound,
    mean_limits,
    measure,
    proportion_measure,
    spread_of_replicates,
    spread_of_sums,
    wilson,
)
from lesionlab.evaluation.measured import measure_cases


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263), (59, 59)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    test = stats.binomtest(hits, n)
    ours, theirs = wilson(hits / n, n), test.proportion_ci(method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_59_of_59_puts_the_lower_bound_above_95_percent_and_58_of_58_does_not() -> None:
    assert lower_bound(59, 59) == pytest.approx(0.05 ** (1 / 59))
    assert lower_bound(59, 59) > 0.95 > lower_bound(58, 58)
    assert lower_bound(0, 10) == 0


def test_a_bound_of_single_cases_is_exact_and_siblings_count_as_one_case_at_most() -> None:
    hit = np.array([1.0] * 97 + [0.0] * 3)
    single = clustered_proportion(hit, np.ones(100), np.arange(100))
    exact = stats.binomtest(97, 100, alternative="greater").proportion_ci(0.95, "exact").low
    assert clustered_lower_bound(single) == pytest.approx(exact, abs=1e-12)
    codes = np.repeat(np.arange(100), 4)
    scattered = np.ones(400)
    scattered[:48:4] = 0  # one error in each of 12 groups: hardly correlated
    loose = clustered_proportion(scattered, np.ones(400), codes)
    assert loose.effective_n > 300
    assert clustered_lower_bound(loose) == pytest.approx(exact, abs=1e-12)
    alike = clustered_proportion(np.repeat(hit, 4), np.ones(400), codes)
    assert clustered_lower_bound(alike) <= exact


def test_the_t_quantile_widens() -> None:
    narrow, wide = wilson(0.8, 50), wilson(0.8, 50, df=9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert wilson(0.8, 50, df=10**7) == pytest.approx(narrow)


def test_independent_cases_keep_their_n() -> None:
    part = np.array([1.0, 0, 1, 1, 0])
    share = clustered_proportion(part, np.ones(5), np.arange(5))
    assert (share.value, share.effective_n, share.groups, share.df) == (0.6, 5.0, 5, None)


def test_identical_siblings_count_once() -> None:
    generator = np.random.default_rng(0)
    hit = (generator.random(200) < 0.7).astype(float)
    codes = np.repeat(np.arange(200), 3)
    share = clustered_proportion(np.repeat(hit, 3), np.ones(600), codes)
    assert share.n == 600
    assert share.effective_n == pytest.approx(199)  # m - 1: the variance was estimated
    assert share.df == 199


def test_independent_siblings_count_nearly_in_full() -> None:
    generator = np.random.default_rng(1)
    hit = (generator.random(3000) < 0.7).astype(float)
    share = clustered_proportion(hit, np.ones(3000), np.repeat(np.arange(1000), 3))
    assert 2500 < share.effective_n <= 3000


def test_all_right_counts_groups_not_images() -> None:
    codes = np.repeat(np.arange(20), 5)
    share = clustered_proportion(np.ones(100), np.ones(100), codes)
    assert (share.value, share.effective_n) == (1.0, 20.0)


def test_a_measure_says_why_there_is_no_interval() -> None:
    every = np.ones(9, bool)
    few = proportion_measure(every, every, np.arange(9))
    assert (few.value, few.low, few.high) == (1.0, None, None)
    assert few.method == "too few to say: 9 groups, 25 needed"
    nobody = proportion_measure(every, np.zeros(9, bool), np.arange(9))
    assert (nobody.value, nobody.n) == (None, 0)
    enough = proportion_measure(np.ones(25, bool), np.ones(25, bool), np.arange(25))
    assert enough.high == 1.0
    assert "25 groups" in enough.method


def test_groups_of_unequal_size_are_worth_fewer() -> None:
    codes = np.repeat(np.arange(40), np.where(np.arange(40) < 2, 60, 1))
    part = np.arange(len(codes)) % 5 > 0
    share = clustered_proportion(part * 1.0, np.ones(len(codes)), codes)
    assert share.groups == 40
    assert share.effective_groups == pytest.approx(158**2 / (2 * 3600 + 38))
    found = proportion_measure(part, np.ones(len(codes), bool), codes)
    assert found.method == "too few to say: 3 groups, 25 needed"


def test_cases_outside_the_whole_do_not_count() -> None:
    whole = np.arange(40) < 20
    part = np.ones(40, bool)
    assert proportion_measure(part, whole, np.arange(40)).value == 1.0
    assert proportion_measure(part, whole, np.arange(40)).n == 20


def test_nan_never_reaches_json() -> None:
    nan = float("nan")
    assert measure(nan, 0.1, 0.2, 5, "x").to_json() == {
        "value": None, "low": None, "high": None, "n": 5, "method": "x",
    }  # fmt: skip
    assert measure(0.1, nan, nan, 5, "x").to_json()["low"] is None


def test_a_predictive_value_hangs_on_the_scarcer_groups_too() -> None:
    """30 groups called negative are enough for a share; 10 groups of positives are not."""
    y_true = np.r_[np.ones(10, int), np.zeros(60, int)]
    y_prob = np.c_[1.0 - y_true * 0.8, y_true * 0.8]
    y_prob[:2] = (0.9, 0.1)  # two positives are missed
    score = {"b": (y_true == 1, y_prob[:, 1])}
    codes = np.arange(70)
    decided = y_prob.argmax(1)
    cases = Cases(("a", "b"), y_true, y_prob, decided, None, codes, 70, score, frozenset())
    m = measure_cases(cases, resamples=50, seed=0, bands=False)
    called = decided == 1
    assert m.share(~(y_true == 1), ~called).low is not None
    npv = m.predictive(~(y_true == 1), ~called, y_true == 1)
    assert npv.value == pytest.approx(60 / 62)
    assert npv.low is None
    assert npv.method == "too few to say: 10 groups, 25 needed"


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


def test_the_spread_of_sums_is_the_variance_between_groups() -> None:
    off = np.random.default_rng(0).normal(size=500)
    off -= off.mean()
    found = spread_of_sums(off / 500)
    assert found.variance == pytest.approx(off.var(ddof=1) / 500)
    assert 300 < found.df <= 499  # kurtosis 3: about the number of groups


def test_a_variance_that_hangs_on_one_group_is_worth_two_degrees_of_freedom() -> None:
    off = np.zeros(200)
    off[7] = 1.0
    assert spread_of_sums(off).df == pytest.approx(2 * 200 / 198, abs=0.02)
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
