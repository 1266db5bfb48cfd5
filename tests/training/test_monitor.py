"""What is watched, patience, the plateau, and the average of the weights."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models.tensor_files import read_tensors
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.ema import Average
from lesionlab.training.monitor import (
    MONITORS,
    checked_monitor,
    default_monitor,
    is_better,
    rounded,
    watch,
)
from lesionlab.training.tracking import numbers, open_trackers, refuse_absent_trackers
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


# --- the average --------------------------------------------------------------------------


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_the_average_follows_by_its_warm_decay() -> None:
    network = small()
    start = network[0].weight.detach().clone()  # type: ignore[index]
    average = Average(network, 0.9)
    with torch.no_grad():
        network[0].weight.add_(1)  # type: ignore[index]
        network[1].num_batches_tracked.add_(3)  # type: ignore[index]
    average.update(1)
    share = 1 - 2 / 11
    assert torch.allclose(average.kept["0.weight"], start + share)
    assert int(average.kept["1.num_batches_tracked"]) == 3
    for step in range(2, 500):
        average.update(step)
    assert torch.allclose(average.kept["0.weight"], network[0].weight, atol=1e-5)  # type: ignore[index]


def test_the_average_is_shown_and_put_away_even_after_an_error() -> None:
    network = small()
    average = Average(network, 0.5)
    average.kept["0.weight"].zero_()
    own = network[0].weight.detach().clone()  # type: ignore[index]

    def fails() -> None:
        with average.shown():
            assert not network[0].weight.any()  # type: ignore[index]
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.equal(network[0].weight, own)  # type: ignore[index]


def test_without_a_decay_there_is_no_average() -> None:
    network = small()
    average = Average(network, None)
    average.update(1)
    with average.shown():
        assert not average.kept


@pytest.mark.parametrize(("where", "mended"), [("average", True), ("both", False), ("none", False)])
def test_only_an_average_that_is_broken_alone_is_mended(where: str, mended: bool) -> None:
    network = small()
    average = Average(network, 0.9)
    if where in ("average", "both"):
        average.kept["0.bias"][0] = math.nan
    if where == "both":
        with torch.no_grad():
            network[0].bias[0] = math.inf  # type: ignore[index]
    assert average.mend() == mended
    assert bool(average.kept["0.bias"].isfinite().all()) == (where != "both")


def test_the_average_follows_the_statistics_of_a_head_on_cached_features(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    model = {"name": "test_efficientnet", "pretrained": False, "head": "concat_pool"}
    stage = {"name": "head", "trainable": "head", "epochs": 2, "cached_views": 2}
    settings = tiny(model=model, stages=[stage])
    run = train(data, settings, tmp_path / "run", machine=machine)
    found = read_tensors(run.folder / "last.safetensors")
    steps = pd.read_csv(run.folder / "history.csv")["step"].max()
    assert int(found["head.0.num_batches_tracked"]) == steps
    assert found["head.0.running_mean"].any()
    assert (found["head.0.running_var"] != 1).all()


# --- tracking elsewhere -------------------------------------------------------------------


def test_rows_are_tracked_as_finite_numbers() -> None:
    row = {"stage": "head", "epoch": 3, "loss": 0.5, "auc": None, "x": math.nan}
    assert numbers(row) == {"epoch": 3, "loss": 0.5}


def test_a_tracker_that_is_not_installed_names_its_extra(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionlab.extras.find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"needs the extra 'mlflow'.*install it: "):
        refuse_absent_trackers(tiny(tracking=["mlflow"]))


def test_tensorboard_forgets_the_epochs_that_are_trained_again(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Mock()
    module = SimpleNamespace(SummaryWriter=writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    open_trackers(tiny(tracking=["tensorboard"]), tmp_path, True, 3)
    writer.assert_called_once_with(str(tmp_path / "tensorboard"), purge_step=3)


class FakeMlflow(ModuleType):
    """As much of MLflow as is used; `down` is a server that cannot be reached."""

    def __init__(self, down: bool = False) -> None:
        super().__init__("mlflow")
        self.exceptions = ModuleType("mlflow.exceptions")
        self.exceptions.MlflowException = type("MlflowException", (Exception,), {})  # type: ignore[attr-defined]
        self.entities = SimpleNamespace(Metric=lambda key, value, _, step: (key, value, step))
        self.points: list[tuple[str, float, int]] = []
        self.MlflowClient = lambda: self
        self.down = down

    def get_experiment_by_name(self, _: str) -> object:
        if self.down:
            raise self.exceptions.MlflowException("connection refused\nby the server")
        return SimpleNamespace(experiment_id="1")

    def create_run(self, *_: object, run_name: str) -> object:
        return SimpleNamespace(info=SimpleNamespace(run_id=f"id of {run_name}"))

    def get_run(self, _: str) -> object:
        latest = {key: value for key, value, _ in self.points}
        return SimpleNamespace(data=SimpleNamespace(metrics=latest))

    def log_batch(self, _: str, metrics: list[tuple[str, float, int]]) -> None:
        self.points += metrics


def faked(monkeypatch: pytest.MonkeyPatch, down: bool = False) -> FakeMlflow:
    fake = FakeMlflow(down)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", fake.exceptions)
    return fake


def test_mlflow_gets_an_epoch_that_is_trained_again_once(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = faked(monkeypatch)
    for epochs in ((0, 1), (1, 2)):  # the second time after a kill
        track = open_trackers(tiny(tracking=["mlflow"]), tmp_path, True)
        for epoch in epochs:
            track({"epoch": epoch, "valid_loss": 0.5})
    assert [step for key, _, step in fake.points if key == "valid_loss"] == [0, 1, 2]


def test_an_mlflow_that_cannot_be_reached_is_one_line(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faked(monkeypatch, down=True)
    with pytest.raises(BadInput, match=r"MLflow does not answer \(connection refused\); fix"):
        open_trackers(tiny(tracking=["mlflow"]), tmp_path, True)


def test_tensorboard_gets_every_epoch(tiny: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    track = open_trackers(tiny(tracking=["tensorboard"]), tmp_path, True)
    track({"epoch": 0, "stage": "head", "valid_loss": 0.5})
    assert list((tmp_path / "tensorboard").iterdir())


def test_mlflow_gets_every_epoch_in_one_run_even_after_a_resume(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    for epoch in range(2):
        track = open_trackers(tiny(tracking=["mlflow"]), tmp_path, True)
        track({"epoch": epoch, "stage": "head", "valid_loss": 0.5 - epoch / 10})
    run_id = (tmp_path / "mlflow.txt").read_text()
    points = mlflow.MlflowClient().get_metric_history(run_id, "valid_loss")
    assert [p.value for p in points] == [0.5, 0.4]
