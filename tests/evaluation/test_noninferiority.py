"""Non-inferiority: the limit of the paired interval against a margin, one-sided."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.two_models import TWO, predictions
from lesionlab import stats
from lesionlab.errors import BadInput
from lesionlab.evaluation.difference import Difference, difference_of
from lesionlab.evaluation.noninferiority import checked_margin, noninferiority
from lesionlab.evaluation.primary import Primary, measured, primary_of


def pair(name: str, skills: tuple[float, float], n: int = 300) -> tuple[Primary, Difference]:
    """Reference minus new."""
    metric = primary_of(name, TWO, ("malignant",))
    found = [
        measured(predictions(TWO, s, k, n), metric, ("malignant",), resamples=200)
        for k, s in enumerate(skills)
    ]
    return metric, difference_of(metric, *found)


NAMES = ("old", "new")


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "nll"])
def test_the_limit_is_that_of_the_two_sided_interval(name: str) -> None:
    metric, d = pair(name, (2.0, 2.2))
    found = noninferiority(metric, NAMES, d, 0.05)
    limits = d.limits()
    wanted = -limits.high if metric.higher_is_better else limits.low
    assert found.limit == pytest.approx(wanted)
    assert found.confidence == 0.975
    assert found.difference == pytest.approx(-d.value if metric.higher_is_better else d.value)
    assert found.noninferior == (wanted > -0.05)


def test_p_is_0025_where_the_limit_meets_the_margin() -> None:
    metric, d = pair("roc_auc", (2.0, 2.0))
    margin = d.limits().high
    assert noninferiority(metric, NAMES, d, margin).p_value == pytest.approx(0.025, abs=1e-6)
    wider, narrower = (noninferiority(metric, NAMES, d, margin * k) for k in (1.5, 0.7))
    assert wider.noninferior
    assert not narrower.noninferior
    assert wider.p_value < 0.025 < narrower.p_value  # type: ignore[operator]
    assert "is non-inferior to old by roc auc with the margin" in wider.verdict
    assert "is not shown to be non-inferior" in narrower.verdict


def test_a_model_worse_than_the_margin_has_a_large_p() -> None:
    metric, d = pair("roc_auc", (3.0, 0.3))
    found = noninferiority(metric, NAMES, d, 0.01)
    assert found.p_value is not None
    assert found.p_value > 0.99
    assert not found.noninferior


def test_several_new_models_share_the_error() -> None:
    metric, d = pair("roc_auc", (2.0, 2.2))
    alone, one_of_four = (noninferiority(metric, NAMES, d, 0.05, comparisons=k) for k in (1, 4))
    assert one_of_four.limit < alone.limit  # type: ignore[operator]
    assert one_of_four.comparisons == 4
    assert one_of_four.p_value == pytest.approx(4 * alone.p_value)  # type: ignore[operator]


def test_too_few_groups_say_nothing() -> None:
    metric, d = pair("roc_auc", (2.0, 2.2), 20)
    found = noninferiority(metric, NAMES, d, 0.05)
    assert (found.limit, found.p_value, found.noninferior) == (None, None, None)
    assert found.verdict == "too few to say whether new is non-inferior to old"


@pytest.mark.parametrize(
    "margin", [0.0, -0.1, float("nan"), float("inf"), "a", None, True, 1.0, 5, 1e9]
)
def test_a_margin_is_above_0_and_below_the_range(margin: object) -> None:
    with pytest.raises(BadInput, match="is not a number above 0 and below 1"):
        checked_margin(margin, primary_of("roc_auc", TWO, ()))


def test_a_loss_has_no_upper_bound() -> None:
    assert checked_margin(5, primary_of("nll", TWO, ())) == 5.0


def test_nothing_is_claimed_where_no_case_tells_the_models_apart() -> None:
    """The same table twice was called non-inferior with p = 0.006."""
    metric = primary_of("roc_auc", TWO, ("malignant",))
    m = measured(predictions(TWO, 6.0, 1, 300), metric, ("malignant",), resamples=100)
    found = noninferiority(metric, NAMES, difference_of(metric, m, m), 0.2)
    assert (found.p_value, found.noninferior) == (None, None)
    assert "no case tells new from old" in found.verdict


@pytest.mark.slow
def test_a_model_that_loses_positives_entirely_is_seldom_called_non_inferior() -> None:
    """2 % of 100 positives fall to the bottom, the margin is the true loss: 2.5 % is promised."""
    rng, called, studies, y = np.random.default_rng(4), 0, 200, np.arange(300) < 100
    for k in range(studies):
        score = rng.normal(size=300) + 3.4 * y
        lost = y & (rng.random(300) < 0.02)
        new = np.where(lost, score.min() - 1, score)
        called += bool(stats.noninferiority(y, new, score, margin=0.02, seed=k).noninferior)
    assert called <= 0.05 * studies


def test_on_arrays_the_reference_comes_second() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    good, weak = y + rng.normal(0, 0.4, 400), y + rng.normal(0, 1.5, 400)
    up = stats.noninferiority(y, good, weak, margin=0.02)
    down = stats.noninferiority(y, weak, good, margin=0.02)
    assert (up.noninferior, down.noninferior) == (True, False)
    assert up.difference == pytest.approx(-down.difference)
    with pytest.raises(BadInput, match="y_score_reference"):
        stats.noninferiority(y, good, weak[:-1], margin=0.02)


@pytest.mark.slow
def test_a_model_exactly_at_the_margin_passes_in_1_in_40() -> None:
    rng, passed, studies, margin = np.random.default_rng(2), 0, 300, 0.10
    n, p_old = 250, 0.8
    for k in range(studies):
        right = rng.random((2, n)) < np.array([[p_old], [p_old - margin]])
        y = np.arange(n) % 2
        probs = [np.where(r, y, 1 - y) * 0.8 + 0.1 for r in right]
        found = stats.noninferiority(
            y, probs[1], probs[0], margin=margin, metric="accuracy", seed=k
        )
        passed += bool(found.noninferior)
    assert passed <= 0.025 * studies + 3 * np.sqrt(0.025 * 0.975 * studies)
