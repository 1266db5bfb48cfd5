"""Rows that calibrate and are measured too are found without ids; rounding is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.same_rows import SameRows, same_rows

K = 3


def drawn(n: int, seed: int, digits: int = 12, hard: bool = False) -> Predictions:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    p = rng.dirichlet(np.ones(K), n).round(digits)
    return of(y, np.eye(K)[p.argmax(1)] if hard else p)


def of(y: np.ndarray, p: np.ndarray) -> Predictions:
    none = np.array([""] * len(y), object)
    return Predictions(none, none, none, ("a", "b", "c"), y, p)


def joined(*parts: Predictions) -> Predictions:
    return of(np.concatenate([p.y_true for p in parts]), np.concatenate([p.y_prob for p in parts]))


@pytest.mark.parametrize("digits", [12, 3, 2])
@pytest.mark.parametrize("n", [5, 40, 400, 3000])
def test_other_rows_are_others_however_they_are_rounded(n: int, digits: int) -> None:
    for seed in range(20):
        found = same_rows(drawn(n, 2 * seed, digits), drawn(n, 2 * seed + 1, digits))
        assert not found.all
        assert not found.notable
    for few in (1, 10):
        found = same_rows(drawn(few, 50, digits), drawn(n, 51, digits))
        assert not found.all
        assert not found.notable


@pytest.mark.parametrize("n", [10, 200, 2000])
def test_decisions_agree_by_chance(n: int) -> None:
    for seed in range(20):
        found = same_rows(drawn(n, 2 * seed, hard=True), drawn(n, 2 * seed + 1, hard=True))
        assert not found.all
        assert not found.notable
    one = drawn(n, 0, hard=True)
    assert same_rows(one, one).notable  # in the same order


@pytest.mark.parametrize("digits", [12, 3])
def test_the_same_rows_in_any_order_and_precision_are_found(digits: int) -> None:
    one = drawn(200, 0, digits)
    turned = one.take(np.random.default_rng(1).permutation(200))
    single = of(one.y_true, one.y_prob.astype(np.float32).astype(np.float64))
    for other in (one, turned, single):
        assert same_rows(other, one) == SameRows(200, 200, all=True, notable=True)
    assert same_rows(one.take(np.arange(50)), one).all
    assert same_rows(one, one.take(np.arange(50))).all


def test_saturated_probabilities_hide_nothing() -> None:
    """A sure network gives the same row many times; the other rows still tell."""
    sure = drawn(120, 0, hard=True)
    one, other = joined(sure, drawn(80, 1)), joined(sure, drawn(80, 2))
    assert same_rows(one, one).all
    assert not same_rows(other, one).all
    assert not same_rows(other, one).notable


@pytest.mark.parametrize(("copies", "notable"), [(0, False), (4, False), (30, True), (150, True)])
def test_a_notable_share_is_said(copies: int, notable: bool) -> None:
    one = drawn(200, 0)
    other = joined(one.take(np.arange(copies)), drawn(200 - copies, 1))
    found = same_rows(other, one)
    assert found == SameRows(copies, 200, all=False, notable=notable)


def test_another_label_is_another_row_and_an_unknown_one_is_none() -> None:
    one = drawn(50, 0)
    assert same_rows(of((one.y_true + 1) % K, one.y_prob), one).rows == 0
    assert same_rows(of(np.full(50, -1), one.y_prob), one) == SameRows(0, 50, False, False)
