from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.bands import bands, wilson_band
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.intervals import FEWEST, wilson
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.predictions import Predictions


def measured(positives: int, n: int = 300) -> Measured:
    generator = np.random.default_rng(0)
    y = (np.arange(n) < positives).astype(np.int64)
    p = 1 / (1 + np.exp(-generator.normal(1.5 * y - 1, 1)))
    ids = np.array([f"i{i}" for i in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    data = Predictions(ids, blank, blank, ("benign", "mel"), y, np.stack([1 - p, p], axis=1))
    return measure_cases(cases_of(data, ("mel",), None), resamples=300, seed=0)


def test_a_point_of_the_band_is_near_the_interval_of_that_sensitivity() -> None:
    m = measured(80)
    roc = bands(m, "mel")["roc"]
    at90 = m.ranked("sensitivity_at_specificity_90", "mel")
    row = roc["fpr"].index(0.1)
    assert roc["low"][row] == pytest.approx(at90.low, abs=0.03)
    assert roc["high"][row] == pytest.approx(at90.high, abs=0.03)
    assert (roc["low"][-1], roc["high"][-1]) == (1, 1)


def test_too_few_groups_have_no_band() -> None:
    few = FEWEST["sensitivity_at_specificity"] - 1
    assert bands(measured(few), "mel")["roc"] is None
    assert bands(measured(few + 1), "mel")["roc"] is not None


def test_a_precision_of_few_positives_has_no_band() -> None:
    pr = bands(measured(100), "mel")["pr"]  # the fewest of 100 are found at recall 0.25
    known = ~np.isnan(pr["low"])
    assert not known[: FEWEST["share"]].any()
    assert known[FEWEST["share"] :].all()


def test_a_whole_curve_is_as_its_points() -> None:
    value, variance = np.array([0.0, 0.3, 0.9, 1.0, np.nan]), np.array([0, 0.01, 0.002, 0, 0.1])
    low, high = wilson_band(value, variance, 25)
    for k, n in ((0, 25), (1, 21), (2, 45), (3, 25)):
        assert (low[k], high[k]) == pytest.approx(wilson(value[k], n, df=24))
    assert np.isnan(low[4])
    assert np.isnan(high[4])
