"""Repeats: by hand, and the correction that keeps the level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.errors import BadInput
from lesionlab.evaluation.repeats import compare_repeats, summarise


def test_mean_sd_and_every_run() -> None:
    found = summarise("recall", {"s0": 0.9, "s1": 0.7, "s2": 0.8}).to_json()
    assert (found["mean"], found["sd"]) == (pytest.approx(0.8), pytest.approx(0.1))
    assert found["runs"] == {"s0": 0.9, "s1": 0.7, "s2": 0.8}
    assert summarise("recall", {"s0": 0.9}).sd is None


def test_without_overlap_it_is_the_paired_t_test() -> None:
    a, b = [0.81, 0.84, 0.79, 0.86], [0.80, 0.80, 0.78, 0.81]
    found = compare_repeats(a, b, test_to_train=0)
    plain = stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(plain.pvalue)
    low, high = plain.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_the_correction_widens_by_what_the_overlap_asks() -> None:
    a, b = [0.81, 0.84, 0.79, 0.86, 0.83], [0.80, 0.80, 0.78, 0.81, 0.80]
    naive = compare_repeats(a, b, test_to_train=0)
    five_folds = compare_repeats(a, b, test_to_train=1 / 4)
    ratio = (five_folds.high - five_folds.mean) / (naive.high - naive.mean)
    assert ratio == pytest.approx(np.sqrt((1 / 5 + 1 / 4) / (1 / 5)))
    assert five_folds.p_value > naive.p_value


def test_refusals_and_equal_runs() -> None:
    assert compare_repeats([0.8, 0.8], [0.8, 0.8], test_to_train=0.25).p_value == 1.0
    with pytest.raises(BadInput, match="cannot be paired"):
        compare_repeats([0.8], [0.7], test_to_train=0.25)
    with pytest.raises(BadInput, match="no finite value"):
        summarise("auc", {"a": float("nan")})
    with pytest.raises(BadInput, match="no run"):
        summarise("auc", {})
