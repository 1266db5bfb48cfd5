"""Rates are pure functions of the step."""

from __future__ import annotations

import pytest

from lesionlab.config import Stage
from lesionlab.training.schedule import END, MOMENTUM, START, group_rates, momentum, rate_factor

TOTAL = 100


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing() -> None:
    factors = [rate_factor("one_cycle", s, TOTAL, 0.3) for s in range(TOTAL)]
    top = factors.index(max(factors))
    assert factors[0] == pytest.approx(START)
    assert factors[-1] == pytest.approx(END)
    assert top in (29, 30)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_momentum_is_the_mirror_of_the_rate_in_one_cycle() -> None:
    values = [momentum("one_cycle", s, TOTAL, 0.3, 0.9) for s in range(TOTAL)]
    assert values[0] == pytest.approx(MOMENTUM[0])
    assert min(values) == pytest.approx(MOMENTUM[1], abs=1e-3)
    assert values[-1] == pytest.approx(MOMENTUM[0])
    factors = [rate_factor("one_cycle", s, TOTAL, 0.3) for s in range(TOTAL)]
    assert abs(values.index(min(values)) - factors.index(max(factors))) <= 1


@pytest.mark.parametrize("schedule", ["cosine", "constant", "plateau"])
def test_other_schedules_keep_their_momentum(schedule: str) -> None:
    assert {momentum(schedule, s, TOTAL, 0.3, 0.8) for s in range(TOTAL)} == {0.8}


def test_cosine_falls_from_the_peak() -> None:
    factors = [rate_factor("cosine", s, TOTAL, 0.3) for s in range(TOTAL)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(END)
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant_is_constant(schedule: str) -> None:
    assert {rate_factor(schedule, s, TOTAL, 0.3) for s in range(TOTAL)} == {1.0}


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant", "plateau"])
def test_a_single_step_has_a_rate(schedule: str) -> None:
    assert 0 < rate_factor(schedule, 0, 1, 0.25) <= 1
    assert 0 <= rate_factor(schedule, 0, 1, 0.0) <= 1


def stage(rate: object) -> Stage:
    return Stage.model_validate({"name": "s", "epochs": 1, "max_lr": rate})


def test_rates_spread_geometrically_from_stem_to_head_either_way_round() -> None:
    assert group_rates(stage(1e-3), 3) == [1e-3] * 3
    assert group_rates(stage([1e-5, 1e-3]), 3) == pytest.approx([1e-5, 1e-4, 1e-3])
    assert group_rates(stage([1e-4, 1e-5]), 2) == pytest.approx([1e-4, 1e-5])
    assert group_rates(stage("auto"), 2, 0.02) == [0.02, 0.02]


def test_a_single_group_is_the_head() -> None:
    assert group_rates(Stage(name="s", epochs=1, max_lr=(1e-5, 1e-3)), 1) == [1e-3]
