from __future__ import annotations

import json

import numpy as np
import pytest

from lesionlab.evaluation.decision_curve import decision_curve, net_benefit


def study(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    score = generator.beta(1, 3, n)
    return score, generator.random(n) < score


@pytest.mark.parametrize("t", [0.05, 0.2, 0.5])
def test_net_benefit_by_its_definition(t: float) -> None:
    score, positive = study()
    tp, fp = (positive & (score >= t)).sum(), (~positive & (score >= t)).sum()
    expected = tp / 400 - fp / 400 * t / (1 - t)
    assert net_benefit(score, positive, t) == pytest.approx(expected)


@pytest.mark.parametrize("t", [0.05, 0.2])
def test_at_another_prevalence_only_the_mix_changes(t: float) -> None:
    score, positive = study()
    sensitivity, false_alarms = (score[positive] >= t).mean(), (score[~positive] >= t).mean()
    expected = sensitivity * 0.02 - false_alarms * 0.98 * t / (1 - t)
    assert net_benefit(score, positive, t, 0.02) == pytest.approx(expected)
    own = float(positive.mean())
    assert net_benefit(score, positive, t, own) == pytest.approx(net_benefit(score, positive, t))


def test_the_curve_of_everyone_and_its_interval() -> None:
    score, positive = study()
    curve = decision_curve(score, positive, np.arange(400), np.array([0.1, 0.3]))
    share = positive.mean()
    assert curve["all"]["value"][0] == pytest.approx(share - (1 - share) * 0.1 / 0.9)
    for name in ("model", "all"):
        for value, low, high in zip(*curve[name].values(), strict=True):
            assert low < value < high
    assert curve["gain"][1] == pytest.approx(
        curve["model"]["value"][1] - max(curve["all"]["value"][1], 0)
    )
    json.dumps(curve, allow_nan=False)


def test_groups_widen_the_interval() -> None:
    score, positive = study()
    one = decision_curve(score, positive, np.arange(400), np.array([0.2]))["model"]
    twice = decision_curve(
        np.tile(score, 2), np.tile(positive, 2), np.tile(np.arange(400), 2), np.array([0.2])
    )["model"]
    assert twice["high"][0] - twice["low"][0] == pytest.approx(one["high"][0] - one["low"][0])


def test_a_single_group_has_no_interval() -> None:
    score, positive = study(20)
    curve = decision_curve(score, positive, np.zeros(20, int), np.array([0.2]))
    assert curve["model"]["low"] == [None]


def test_net_benefit_is_that_of_dcurves() -> None:
    # Recorded from dcurves' dca() for the same study.
    score, positive = study()
    plain = {0.05: 0.226711, 0.1: 0.188056, 0.2: 0.118125, 0.5: 0.0025}
    for t, expected in plain.items():
        assert net_benefit(score, positive, t) == pytest.approx(expected, abs=1e-6)
    for t, expected in {0.05: -0.025431, 0.2: -0.104613}.items():
        assert net_benefit(score, positive, t, 0.02) == pytest.approx(expected, abs=1e-6)
