"""The range test: what it suggests, and that it leaves everything as it was."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import lesionlab
from lesionlab.api.lr_find import lr_find
from lesionlab.cli.main import run
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT
from lesionlab.training import lr_finder
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.lr_finder import RateCurve, chosen_rate, smoothed, suggest
from lesionlab.training.step import NonFiniteStep
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]
RATES = np.geomspace(1e-7, 1, 100)


def curve(fall: float = 1e-3, blow_up: float = 0.1) -> np.ndarray:
    """Flat, then a fall around one rate, then a blow-up around another."""
    return 1 - 0.5 / (1 + (fall / RATES) ** 2) + (RATES / blow_up) ** 3


def test_each_custom_finds_its_place() -> None:
    found = suggest(RATES, curve())
    lowest = RATES[np.argmin(curve())]
    assert found["minimum_10"] == pytest.approx(lowest / 10)
    assert found["steepest"] == pytest.approx(1e-3, rel=0.5)
    assert found["valley"] is not None
    assert found["valley"] < lowest
    assert found["plateau"] is not None


def test_the_last_plateau_of_a_trained_network_lies_before_the_blow_up() -> None:
    waves = 0.002 * np.cos(np.linspace(0, 6, 100))
    losses = 0.3 + 0.05 / (1 + (RATES / 1e-6) ** 2) + waves + (RATES / 3e-3) ** 2
    found = suggest(RATES, losses)
    assert found["plateau"] is not None
    assert 1e-6 < found["plateau"] < 3e-3


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 100), np.ones(100)])
def test_a_curve_that_never_falls_has_no_steepest_and_no_valley(losses: np.ndarray) -> None:
    found = suggest(RATES, losses)
    assert found["steepest"] is None
    assert found["valley"] is None


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_curve_that_is_too_short_suggests_nothing(n: int) -> None:
    found = suggest(RATES[:n], np.ones(n))
    assert set(found.values()) == {None}
    with pytest.raises(BadInput, match=r"stage 'all': the loss does not fall.*stages\.1\.max_lr"):
        chosen_rate(RateCurve(RATES[:n], np.ones(n), found), "all", 1)


def test_the_ends_of_a_curve_are_no_suggestions() -> None:
    found = suggest(RATES, 1 - 0.5 * np.exp(-RATES / 1e-9) + RATES)  # lowest at the first rate
    assert found["minimum_10"] is None
    assert found["steepest"] is None
    falling = suggest(RATES, np.exp(-np.arange(100) / 5))  # steepest at the first rate
    assert falling["steepest"] is None
    assert falling["minimum_10"] == pytest.approx(RATES[-1] / 10)
    assert suggest(RATES, np.ones(100))["plateau"] is None  # flat from the first rate on


class Stub:
    """A network and an optimiser for steps whose losses are given."""

    def __init__(self) -> None:
        self.network, self.settings, self.optimizer = self, self, self
        self.optim, self.plain_momentum = self, 0.9
        self.param_groups = [{"block": 0}]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, _: dict[str, Any]) -> None:
        self.put_back = True


def range_test(
    losses: list[float], monkeypatch: pytest.MonkeyPatch, said: Any = SILENT
) -> RateCurve:
    """The range test of 100 steps with these losses, and not finite ones after them."""
    left = iter(losses)

    def step(*_: Any) -> float:
        loss = next(left, None)
        if loss is None:
            raise NonFiniteStep("loss", (0,))
        return loss

    monkeypatch.setattr(lr_finder, "_batches", lambda *_: itertools.repeat(([0], [0], 0)))
    monkeypatch.setattr(lr_finder, "do_step", step)
    stub: Any = Stub()
    curve = lr_finder.find_rate(stub, stub, np.zeros(1, int), 0, 1, 1, said)
    assert stub.put_back
    return curve


def test_a_hard_batch_of_a_fitted_network_does_not_end_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).exponential(0.1, 100)  # far more than 4 times apart
    assert noise[:15].max() > 4 * noise[:15].min()
    blow_up = (RATES / 1e-2) ** 2
    curve = range_test(list(noise + blow_up), monkeypatch)
    assert 1e-2 < curve.rates[-1] < 0.5  # it ends where the network does
    assert curve.fault == ""


def test_a_test_that_is_too_noisy_says_so(monkeypatch: pytest.MonkeyPatch, lines: Any) -> None:
    curve = range_test([0.01] * 22 + [5.0] + [0.01] * 77, monkeypatch, lines)
    words = "too noisy: ended after 23 of 100 steps; use a larger batch"
    assert set(curve.suggestions.values()) == {None}
    assert any(words in line for line in lines.said)
    with pytest.raises(BadInput, match=rf"stage 'head': {words}.*stages\.2\.max_lr"):
        chosen_rate(curve, "head", 2)


@pytest.mark.parametrize(
    ("n", "words"), [(0, "even at the lowest learning rate"), (9, "after 9 of 100")]
)
def test_a_loss_that_is_not_finite_is_told_from_noise(
    n: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = range_test(list(np.linspace(1, 0.9, n)), monkeypatch)
    with pytest.raises(BadInput, match=f"the loss is not finite {words}"):
        chosen_rate(curve, "all", 0)


def test_smoothing_keeps_a_constant_and_lags_behind_a_step() -> None:
    assert smoothed(np.full(20, 0.7)) == pytest.approx(np.full(20, 0.7))
    step = smoothed(np.repeat([1.0, 0.0], 20))
    assert step[:20] == pytest.approx(np.ones(20))
    assert (np.diff(step[20:]) < 0).all()


@pytest.fixture
def automatic(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("lesionlab.training.lr_finder.STEPS", 12)
    monkeypatch.setattr("lesionlab.training.lr_finder.find_rate.__defaults__", (12,))
    return tiny(stages=[{"name": "all", "epochs": 1, "max_lr": "auto"}], ema=None)


def test_auto_finds_a_rate_once_and_resumes_to_the_same_bits(
    data: Path, automatic: Settings, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    train(data, automatic, tmp_path / "whole", machine=machine)
    rates = json.loads((tmp_path / "whole" / "summary.json").read_text())["found_rates"]
    assert 1e-7 <= rates["all"] <= 1
    tested, left = iter(range(10**6)), iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 1:
            raise KeyboardInterrupt
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(data, automatic, tmp_path / "run", machine=machine)
    with pytest.MonkeyPatch.context() as watch:
        watch.setattr("lesionlab.training.prepared_stage.find_rate", lambda *_: next(tested))
        resume(tmp_path / "run", machine=machine)
    assert next(tested) == 0  # the rate was in the checkpoint
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_the_verb_writes_a_figure_and_its_table(
    data: Path, automatic: Settings, tmp_path: Path
) -> None:
    found = lr_find(data, automatic, tmp_path / "rates", threads=1)
    assert found["stage"] == "all"
    root = ElementTree.parse(tmp_path / "rates" / "lr-find.svg").getroot()
    assert root.tag.endswith("svg")
    with (tmp_path / "rates" / "lr-find.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == found["steps"]
    assert float(rows[0]["rate"]) == pytest.approx(1e-7)
    with pytest.raises(BadInput, match="already exists"):
        lr_find(data, automatic, tmp_path / "rates")


def test_a_stage_that_is_not_there(data: Path, tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no stage 'hed'; did you mean 'head'"):
        lr_find(data, tiny(), tmp_path / "rates", stage="hed")


def test_the_lr_option_is_a_number_or_auto(
    data: Path, tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=r"stages.0.max_lr"):
        lesionlab.train(data, tiny(), tmp_path / "run", lr="fast")
    with pytest.raises(BadInput, match=r"stages.0.max_lr"):
        lesionlab.train(data, tiny(), tmp_path / "run", lr=-1)
    assert run(["lr-find", str(data)]) == 2
    assert "--preset" in capsys.readouterr().err
