"""Paired tests against brute force, by hand, and under the null."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lesionlab.evaluation import metrics, paired


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def brute_kernel(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def brute_delong(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.array(
        [[[brute_kernel(x, y) for y in s[~positive]] for x in s[positive]] for s in scores]
    )
    up, down = kernel.mean(2), kernel.mean(1)
    covariance = np.cov(up) / up.shape[1] + np.cov(down) / down.shape[1]
    return kernel.mean((1, 2)), covariance


def test_delong_equals_the_double_loop_even_with_ties(rng: np.random.Generator) -> None:
    positive = rng.random(60) < 0.3
    scores = np.round(rng.random((3, 60)) + 0.4 * positive, 1)
    auc, covariance = brute_delong(positive, scores)
    found = paired.delong(positive, scores)
    np.testing.assert_allclose(found.auc, auc, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    assert found.auc[0] == pytest.approx(metrics.roc_auc(positive, scores[0]), abs=1e-12)


def test_delong_difference_is_antisymmetric_and_blind_to_monotone_maps(
    rng: np.random.Generator,
) -> None:
    positive = rng.random(80) < 0.4
    a, b = rng.random(80) + 0.5 * positive, rng.random(80) + 0.2 * positive
    d, error, p = paired.delong_difference(positive, a, b)
    assert paired.delong_difference(positive, b, a) == pytest.approx((-d, error, p))
    assert paired.delong_difference(positive, np.exp(a), b**3) == pytest.approx((d, error, p))
    assert paired.delong_difference(positive, a, a) == (0.0, 0.0, 1.0)


def test_mcnemar_by_hand() -> None:
    a = np.array([True] * 8 + [False] * 2 + [True] * 5)
    b = np.array([False] * 8 + [True] * 2 + [True] * 5)
    only_a, only_b, p = paired.mcnemar(a, b)
    # 2 * P(X <= 2), X binomial(10, 1/2): 2 * (1 + 10 + 45) / 1024
    assert (only_a, only_b) == (8, 2)
    assert p == pytest.approx(112 / 1024)
    assert paired.mcnemar(a, a) == (0, 0, 1.0)


def test_auc_contributions_give_the_difference_for_every_swap(rng: np.random.Generator) -> None:
    positive = np.array([True, False, True, False, False, True, False])
    a, b = np.round(rng.random(7), 1), np.round(rng.random(7), 1)
    c = paired.auc_contributions(positive, a, b)
    ra, rb = paired.midranks(a), paired.midranks(b)
    for signs in itertools.product((1, -1), repeat=7):
        s = np.array(signs)
        first, second = np.where(s > 0, ra, rb), np.where(s > 0, rb, ra)
        wanted = metrics.roc_auc(positive, first) - metrics.roc_auc(positive, second)
        assert s @ c == pytest.approx(wanted, abs=1e-12)


def test_permutation_p_value_is_the_exact_one(rng: np.random.Generator) -> None:
    c, codes = rng.normal(0.3, 1, 10), np.arange(10) // 2
    by_group = np.bincount(codes, c)
    all_signs = np.array(list(itertools.product((1, -1), repeat=5)))
    exact = float((np.abs(all_signs @ by_group) >= abs(c.sum()) - 1e-12).mean())
    found = paired.permutation_test(c, codes, resamples=40000)
    assert found == pytest.approx(exact, abs=0.01)


def test_permutation_depends_on_the_seed_only_and_ignores_the_sign(
    rng: np.random.Generator,
) -> None:
    c, codes = rng.normal(0.1, 1, 50), np.arange(50)
    assert paired.permutation_test(c, codes, seed=1) == paired.permutation_test(c, codes, seed=1)
    assert paired.permutation_test(c, codes) == paired.permutation_test(-c, codes)
    assert paired.permutation_test(np.zeros(50), codes) == 1.0


def test_permutation_holds_its_level_where_groups_are_correlated() -> None:
    rejected = naive = 0
    for study in range(200):
        rng = np.random.default_rng([7, study])
        group = np.repeat(rng.normal(0, 1, 30), 4)  # a patient's four images err alike
        c = group + rng.normal(0, 0.3, 120)
        rejected += paired.permutation_test(c, np.repeat(np.arange(30), 4), resamples=199) <= 0.05
        naive += paired.permutation_test(c, np.arange(120), resamples=199) <= 0.05
    assert rejected / 200 < 0.10
    assert naive / 200 > 0.20  # what swapping single images would do


def test_swap_test_agrees_with_the_linear_one(rng: np.random.Generator) -> None:
    positive = rng.random(60) < 0.4
    a, b = rng.random(60) + 0.6 * positive, rng.random(60) + 0.3 * positive
    codes = np.arange(60) // 2
    ra, rb = paired.midranks(a), paired.midranks(b)

    def difference(x: np.ndarray, y: np.ndarray) -> float:
        return metrics.roc_auc(positive, x) - metrics.roc_auc(positive, y)

    slow = paired.swap_test(difference, ra, rb, codes, resamples=600)
    fast = paired.permutation_test(paired.auc_contributions(positive, a, b), codes)
    assert slow == pytest.approx(fast, abs=0.07)


def test_holm_is_monotone_and_never_below_the_raw_value() -> None:
    raw = [0.001, 0.2, 0.02, 0.5]
    adjusted = paired.holm(raw)
    assert adjusted == pytest.approx([0.004, 0.4, 0.06, 0.5])
    assert paired.holm([]) == []
    assert paired.holm([0.7, 0.8]) == pytest.approx([1.0, 1.0])


def test_mid_p_by_hand() -> None:
    """1 against 9: the exact p is 22 / 1024; outcomes exactly as far out count half: 12 / 1024."""
    assert paired.mcnemar_mid_p(1, 9) == paired.mcnemar_mid_p(9, 1) == pytest.approx(12 / 1024)
    assert paired.mcnemar_mid_p(0, 0) == 1.0
    assert paired.mcnemar_mid_p(2, 2) == pytest.approx(1 - 6 / 16 / 2)
    assert paired.mcnemar_mid_p(0, 1) == pytest.approx(0.5)


def test_degrees_of_freedom_of_an_area_that_hangs_on_one_case() -> None:
    positive = np.arange(100) < 50
    score = positive * 2.0 + np.random.default_rng(0).normal(0, 0.2, 100)
    score[3] = 0.0  # one positive case among the negatives
    hangs = paired.delong(positive, score[None]).df[0]
    spread = np.random.default_rng(1).normal(positive * 1.0, 1)
    assert hangs < 5
    assert paired.delong(positive, spread[None]).df[0] > 40
