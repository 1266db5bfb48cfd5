from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

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
    # The same to a t quantile of 399 degrees of freedom in place of the normal one.
    assert twice["high"][0] - twice["low"][0] == pytest.approx(
        one["high"][0] - one["low"][0], rel=0.01
    )


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


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Of the textbook: the roots of (p - x/n)^2 = z^2 p (1 - p) / n."""
    z = norm.ppf(0.975)
    a, b, c = 1 + z * z / n, -(2 * hits / n + z * z / n), (hits / n) ** 2
    root = np.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def mover(first: int, second: int, n: int, price: float) -> tuple[float, float, float]:
    """`first / n - price * second / n` of two cells of a multinomial (Zou and Donner 2008)."""
    a, b = first / n, second / n
    r = -np.sqrt(a * b / ((1 - a) * (1 - b)))
    (la, ua), (lb, ub) = wilson(first, n), wilson(second, n)
    down, up = (a - la, price * (ub - b)), (ua - a, price * (b - lb))
    value = a - price * b
    below, above = (np.sqrt(x * x + y * y - 2 * r * x * y) for x, y in (down, up))
    return value, value - below, value + above


@pytest.mark.parametrize("t", [0.05, 0.3, 0.6])
def test_the_intervals_are_mover_of_wilson(t: float) -> None:
    score, positive = study()
    curve = decision_curve(score, positive, np.arange(400), np.array([t]))
    called, price = score >= t, t / (1 - t)
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    tn, fn = int((~called & ~positive).sum()), int((~called & positive).sum())
    found = [curve["model"][k][0] for k in ("value", "low", "high")]
    assert found == pytest.approx(mover(tp, fp, 400, price))
    over_all = [curve["over_all"][k][0] for k in ("value", "low", "high")]
    assert over_all[0] == pytest.approx(curve["model"]["value"][0] - curve["all"]["value"][0])
    # The model spares true negatives at the price and misses the false negatives.
    a, b = tn / 400, fn / 400
    r = -np.sqrt(a * b / ((1 - a) * (1 - b)))
    (la, ua), (lb, ub) = wilson(tn, 400), wilson(fn, 400)
    x, y = price * (a - la), ub - b
    assert over_all[1] == pytest.approx(over_all[0] - np.sqrt(x * x + y * y - 2 * r * x * y))
    x, y = price * (ua - a), b - lb
    assert over_all[2] == pytest.approx(over_all[0] + np.sqrt(x * x + y * y - 2 * r * x * y))


def test_treating_everyone_depends_on_the_prevalence_alone() -> None:
    score, positive = study()
    t, n = 0.2, 400
    everyone = decision_curve(score, positive, np.arange(n), np.array([t]))["all"]
    limits = wilson(int(positive.sum()), n)
    expected = [p - (1 - p) * t / (1 - t) for p in limits]
    assert [everyone["low"][0], everyone["high"][0]] == pytest.approx(expected)
    given = decision_curve(score, positive, np.arange(n), np.array([t]), prevalence=0.02)["all"]
    assert given["low"] == given["value"] == given["high"] == [pytest.approx(0.02 - 0.98 * 0.25)]


def test_a_few_false_alarms_are_not_taken_for_none() -> None:
    """Nobody negative is called at 0.9: a variance of zeros would know nothing of the next one."""
    score, positive = np.repeat([0.95, 0.1], 200), np.repeat([True, False], 200)
    curve = decision_curve(score, positive, np.arange(400), np.array([0.9]))
    below = curve["model"]["value"][0] - curve["model"]["low"][0]
    assert below > 9 * 0.5 * 3 / 200, "nine times the rule of three of 200 negatives in 400"


def test_the_gain_is_over_the_better_of_all_and_none() -> None:
    generator = np.random.default_rng(1)
    positive = np.arange(600) % 3 == 0
    score = expit(generator.normal(size=600) + 2.5 * positive + logit(1 / 3) - 1.25)
    curve = decision_curve(score, positive, np.arange(600))
    gain = np.array(curve["gain"])
    model, over_all = (np.array(curve[k]["value"]) for k in ("model", "over_all"))
    assert gain == pytest.approx(model - np.maximum(np.array(curve["all"]["value"]), 0))
    lows = np.minimum(curve["model"]["low"], curve["over_all"]["low"])
    assert curve["gain_limits"]["low"] == pytest.approx(lows)
    assert (lows <= np.minimum(model, over_all)).all()
    inside = np.zeros(99, bool)
    for first, last in curve["gain_above_0"]:
        inside |= (np.array(curve["threshold"]) >= first) & (np.array(curve["threshold"]) <= last)
    assert (inside == (lows > 0)).all()
    assert inside[32], "near the prevalence this model is better than either"


def test_a_score_that_says_nothing_gains_nowhere() -> None:
    generator = np.random.default_rng(2)
    positive = generator.random(500) < 0.3
    curve = decision_curve(generator.beta(2, 5, 500), positive, np.arange(500))
    assert max(low for low in curve["gain_limits"]["low"]) < 0.005
    assert sum(b - a for a, b in curve["gain_above_0"]) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("t", "kind"), [(0.9, "model"), (0.05, "over_all")])
def test_rare_and_dear_cases_do_not_cost_the_coverage(t: float, kind: str) -> None:
    """With t and the variance between groups: 82 % at 0.9, and 86 % of the difference at 0.05."""
    generator, d, p, price = np.random.default_rng(3), 1.5, 0.2, t / (1 - t)
    n = 2000 if kind == "model" else 250
    cut = (logit(t) - logit(p) + d * d / 2) / d
    true = p * norm.sf(cut - d) - price * (1 - p) * norm.sf(cut)
    true -= p - price * (1 - p) if kind == "over_all" else 0
    held, studies = 0, 500
    for _ in range(studies):
        positive = generator.random(n) < p
        x = generator.normal(size=n) + d * positive
        score = expit(d * x - d * d / 2 + logit(p))
        m = decision_curve(score, positive, np.arange(n), np.array([t]))[kind]
        held += m["low"][0] <= true <= m["high"][0]
    assert held / studies > 0.925
