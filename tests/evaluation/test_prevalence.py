from __future__ import annotations

import pytest

from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.prevalence import predictive_values, ratio_interval, values_at

SENSITIVITY = Measure(0.9, 0.85, 0.94, 200, "given")
SPECIFICITY = Measure(0.8, 0.76, 0.84, 400, "given")


@pytest.mark.parametrize(("prevalence", "ppv"), [(0.1, 0.33), (0.02, 0.084), (0.00098, 0.0044)])
def test_the_figures_of_the_textbook(prevalence: float, ppv: float) -> None:
    assert predictive_values(0.9, 0.8, prevalence)[0] == pytest.approx(ppv, rel=0.02)


def test_values_lie_in_their_intervals_and_ppv_rises_with_prevalence() -> None:
    rows = values_at(SENSITIVITY, SPECIFICITY, (0.001, 0.02, 0.1, 0.5))
    for row in rows:
        for name in ("ppv", "npv"):
            assert row[name]["low"] < row[name]["value"] < row[name]["high"]
    ppv = [row["ppv"]["value"] for row in rows]
    assert ppv == sorted(ppv)
    assert ppv[3] == pytest.approx(0.45 / 0.55)


def test_perfect_specificity_gives_an_open_interval_not_an_error() -> None:
    perfect = Measure(1.0, 0.96, 1.0, 100, "given")
    (row,) = values_at(SENSITIVITY, perfect, (0.02,))
    assert row["ppv"]["value"] == row["ppv"]["high"] == 1.0
    assert 0 < row["ppv"]["low"] < 0.5


def test_what_is_unknown_stays_unknown() -> None:
    few = Measure(0.9, None, None, 5, "too few to say")
    (row,) = values_at(few, SPECIFICITY, (0.02,))
    assert row["ppv"]["value"] == pytest.approx(predictive_values(0.9, 0.8, 0.02)[0])
    assert row["ppv"]["low"] is None
    assert row["ppv"]["method"] == "too few to say"
    nothing = Measure(None, None, None, 0, "undefined")
    assert values_at(nothing, SPECIFICITY, (0.02,))[0]["npv"]["value"] is None


def test_the_ratio_of_two_shares_has_no_upper_limit_where_the_whole_may_be_zero() -> None:
    low, high = ratio_interval((0.2, 0.1, 0.3), (0.5, 0.0, 0.9))
    assert low > 0
    assert high == float("inf")
