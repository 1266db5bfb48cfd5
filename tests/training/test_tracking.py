"""The history in TensorBoard and MLflow: each epoch once, and only numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import pytest

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training.tracking import numbers, open_trackers, refuse_absent_trackers

Recipe = Callable[..., Settings]


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


def test_infinity_and_words_are_no_points() -> None:
    row = {"epoch": 0, "loss": math.inf, "low": -math.inf, "lr": "1e-3", "seconds": 2}
    assert numbers(row) == {"epoch": 0, "seconds": 2}


def test_only_the_first_process_tracks(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = faked(monkeypatch, down=True)  # would refuse, were it asked
    track = open_trackers(tiny(tracking=["mlflow"]), tmp_path, False)
    track({"epoch": 0, "valid_loss": 0.5})
    assert not fake.points
    assert not list(tmp_path.iterdir())


def test_a_run_of_mlflow_that_is_written_down_is_not_made_again(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fake = faked(monkeypatch)
    monkeypatch.setattr(fake, "create_run", None)
    monkeypatch.setattr(fake, "log_batch", lambda run_id, metrics: asked.append(run_id))
    (tmp_path / "mlflow.txt").write_text("abc\n")
    open_trackers(tiny(tracking=["mlflow"]), tmp_path, True)({"epoch": 0})
    assert asked == ["abc"]


def test_a_server_that_goes_away_during_the_run_is_one_line(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = faked(monkeypatch)
    track = open_trackers(tiny(tracking=["mlflow"]), tmp_path, True)

    def lost(*_: object, **__: object) -> None:
        raise fake.exceptions.MlflowException("")

    monkeypatch.setattr(fake, "log_batch", lost)
    with pytest.raises(BadInput, match=r"\(no reason given\)") as error:
        track({"epoch": 0, "valid_loss": 0.5})
    assert "then resume" in str(error.value)


def test_two_trackers_get_the_same_epoch(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Mock()
    module = SimpleNamespace(SummaryWriter=Mock(return_value=writer))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    fake = faked(monkeypatch)
    track = open_trackers(tiny(tracking=["tensorboard", "mlflow"]), tmp_path, True)
    track({"epoch": 4, "valid_loss": 0.25, "stage": "head"})
    assert ("valid_loss", 0.25, 4) in fake.points
    writer.add_scalar.assert_any_call("valid_loss", 0.25, 4)
