"""What is watched, patience and the plateau."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.monitor import (
    MONITORS,
    checked_monitor,
    default_monitor,
    is_better,
    rounded,
    watch,
)
from lesionlab.training.train import Trainer, train

Recipe = Callable[..., Settings]
Y = np.array([0, 0, 1, 1, 2, 2])
PRIOR = np.full(3, 1 / 3)


def test_a_perfect_network_has_perfect_monitors() -> None:
    logits = np.eye(3, dtype=np.float32)[Y] * 20
    found = watch(logits, Y, PRIOR, PRIOR)
    assert set(found) == set(MONITORS)
    assert found.pop("valid_loss") == pytest.approx(0, abs=1e-6)
    assert all(v == pytest.approx(1) for v in found.values())


def test_the_training_prior_is_divided_out_once() -> None:
    """Logits of a network trained at a uniform prior, watched at the data's own."""
    prior = np.array([0.8, 0.1, 0.1])
    logits = np.zeros((6, 3), np.float32)
    found = watch(logits, Y, prior, PRIOR)
    assert found["valid_loss"] == pytest.approx(-np.log(prior)[Y].mean())
    assert found["valid_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_give_none(bad: float) -> None:
    logits = np.zeros((6, 3), np.float32)
    logits[2, 1] = bad
    found = watch(logits, Y, PRIOR, PRIOR)
    assert all(math.isnan(v) for v in found.values())
    assert set(rounded(found).values()) == {None}
    assert not any(is_better(name, v, None) for name, v in found.items())


def test_better_is_lower_for_the_loss_alone() -> None:
    assert is_better("valid_loss", 0.4, 0.5)
    assert not is_better("valid_loss", 0.5, 0.5)
    assert is_better("valid_roc_auc", 0.6, 0.5)
    assert is_better("valid_accuracy", 0.0, None)


def test_the_default_monitors() -> None:
    assert default_monitor(2) == "valid_roc_auc"
    assert default_monitor(7) == "valid_balanced_accuracy_prior_corrected"
    assert checked_monitor("loss", 2) == "valid_loss"
    with pytest.raises(BadInput, match="did you mean 'valid_roc_auc'"):
        checked_monitor("roc_auk", 2)


@pytest.mark.parametrize("monitor", MONITORS)
def test_every_monitor_chooses_a_best_epoch(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monitor: str
) -> None:
    stages = [{"name": "head", "trainable": "head", "epochs": 3, "cached_views": 1}]
    run = train(data, tiny(monitor=monitor, stages=stages), tmp_path / "run", machine=machine)
    rows = pd.read_csv(run.folder / "history.csv")
    best = rows[monitor].idxmin() if monitor == "valid_loss" else rows[monitor].idxmax()
    about = pd.read_json(run.folder / "summary.json", typ="series")
    assert about["best_epoch"] == best
    assert about["best_value"] == pytest.approx(rows[monitor][best], abs=1e-6)


def worsening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation logits that get worse from epoch to epoch."""
    original = Trainer._validate

    def validate(self: Trainer, leg: object) -> object:
        logits = original(self, leg)  # type: ignore[arg-type]
        y = self.parts.y[self.parts.valid]
        logits[np.arange(len(y)), y] = 2.0 - self.state.epoch
        return logits

    monkeypatch.setattr(Trainer, "_validate", validate)


def test_patience_ends_a_stage(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worsening(monkeypatch)
    stage = {"name": "head", "trainable": "head", "epochs": 9, "cached_views": 1, "patience": 2}
    run = train(data, tiny(stages=[stage]), tmp_path / "run", machine=machine)
    assert len(pd.read_csv(run.folder / "history.csv")) == 3


def test_a_plateau_lowers_the_rate(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worsening(monkeypatch)
    monkeypatch.setattr(engine, "PLATEAU_EPOCHS", 2)
    stage = {"name": "head", "trainable": "head", "epochs": 6, "cached_views": 1}
    stages = [{**stage, "schedule": "plateau", "max_lr": 1e-2}]
    run = train(data, tiny(stages=stages), tmp_path / "run", machine=machine)
    rates = pd.read_csv(run.folder / "history.csv")["lr"].tolist()
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4])
