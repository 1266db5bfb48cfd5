"""The half that fits a map, from arrays."""

from __future__ import annotations

import numpy as np

import lesionlab
from lesionlab import stats
from lesionlab.evaluation.recalibration import fit_calibrator

RNG = np.random.default_rng(5)
GROUPS = np.repeat(np.arange(300), 2)
Y = RNG.integers(0, 2, 300)[GROUPS]
P = 1 / (1 + np.exp(-4 * (Y - 0.5) - RNG.normal(0, 2, 600)))


def test_whole_groups_in_one_half_whatever_the_order_and_none_without_a_label() -> None:
    fits = stats.calibration_half(Y, P, groups=GROUPS)
    assert (fits[::2] == fits[1::2]).all()
    for label in (0, 1):
        inside = np.unique(GROUPS[fits & (label == Y)]), np.unique(GROUPS[~fits & (label == Y)])
        assert abs(len(inside[0]) - len(inside[1])) <= 1
    order = RNG.permutation(600)
    turned = stats.calibration_half(Y[order], P[order], groups=GROUPS[order])
    assert (turned == fits[order]).all()
    some = np.where(np.arange(600) % 5 == 0, np.nan, Y)
    without = stats.calibration_half(some, P, classes=[0, 1])
    assert not without[::5].any()
    assert without.any()


def test_evaluate_divides_in_the_same_way() -> None:
    fits = stats.calibration_half(Y, P, groups=GROUPS)
    found = stats.calibrate(Y[fits], P[fits], method="isotonic")
    point = stats.operating_point(Y[~fits], found.apply(P[~fits]), groups=GROUPS[~fits], target=0.9)
    y_new = RNG.integers(0, 2, 200)
    p_new = 1 / (1 + np.exp(-4 * (y_new - 0.5) - RNG.normal(0, 2, 200)))
    (theirs,) = lesionlab.evaluate(
        y_true=y_new, y_prob=p_new, resamples=20, calibration="isotonic", target=0.9,
        calib={"y_true": Y, "y_prob": P, "groups": [f"other {g}" for g in GROUPS]},
    ).operating_points  # fmt: skip
    assert theirs["threshold"] == point.threshold
    assert theirs["chosen"]["positive_groups"] == point.positive_groups
    two = np.stack([1 - P, P], axis=1)
    same = fit_calibrator("isotonic", two[fits], Y[fits])
    np.testing.assert_array_equal(same.apply(two)[:, 1][~fits], found.apply(P[~fits]))
