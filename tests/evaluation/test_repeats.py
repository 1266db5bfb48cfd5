"""Repeats: by hand, and the correction that keeps the level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lesionlab.errors import BadInput
from lesionlab.evaluation.repeats import (
    compare_repeats,
    compare_spreads,
    compare_unpaired,
    summarise,
)


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


def test_without_overlap_the_unpaired_test_is_welch() -> None:
    a, b = [0.81, 0.84, 0.79, 0.86], [0.80, 0.70, 0.78]
    found = compare_unpaired(a, b, test_to_train=(0, 0))
    plain = stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value == pytest.approx(plain.pvalue)
    low, high = plain.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    wider = compare_unpaired(a, b, test_to_train=(0.25, 0.25))
    assert wider.high - wider.low > found.high - found.low
    assert wider.method.startswith("unpaired")
    with pytest.raises(BadInput, match="at least two runs"):
        compare_unpaired(a, [0.8], test_to_train=(0, 0))


def test_the_ends_of_a_ratio_of_sds_are_where_its_test_has_p_0_05() -> None:
    generator = np.random.default_rng(1)
    a = generator.normal(size=9)
    b = 0.6 * a + generator.normal(size=9)
    found = compare_spreads(list(a), list(b), paired=True)
    assert found is not None
    assert found.value == pytest.approx(a.std() / b.std())
    for end in (found.low, found.high):  # Pitman and Morgan: sums and differences correlate
        assert stats.pearsonr(a / end + b, a / end - b).pvalue == pytest.approx(0.05)
    free = compare_spreads(list(a), list(b), paired=False)
    assert free is not None
    f = (free.value / free.low) ** 2
    assert stats.f.sf(f, 8, 8) == pytest.approx(0.025)
    assert compare_spreads([0.8, 0.9], [0.7, 0.9], paired=True) is None
    assert compare_spreads([0.8] * 3, [0.7, 0.8, 0.9], paired=True) is None


def test_refusals_and_equal_runs() -> None:
    for first in ([0.8, 0.8], [0.9, 0.9]):  # equal differences say nothing of the next run
        found = compare_repeats(first, [0.8, 0.8], test_to_train=0.25)
        assert (found.low, found.high, found.p_value) == (None, None, None)
        assert "do not vary" in found.method
        loose = compare_unpaired(first, [0.8, 0.8], test_to_train=(0.0, 0.0))
        assert (loose.low, loose.p_value) == (None, None)
    with pytest.raises(BadInput, match="cannot be paired"):
        compare_repeats([0.8], [0.7], test_to_train=0.25)
    with pytest.raises(BadInput, match="no finite value"):
        summarise("auc", {"a": float("nan")})
    with pytest.raises(BadInput, match="no run"):
        summarise("auc", {})
