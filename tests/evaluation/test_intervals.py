from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.intervals import (
    clustered_lower_bound,
    clustered_proportion,
    measure,
    proportion_measure,
)
from lesionlab.evaluation.limits import (
    correlations,
    harmonic,
)
from lesionlab.evaluation.measured import measure_cases


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
