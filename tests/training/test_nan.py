"""What is no number (faults 15 to 17)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.faults import Crash, summary
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models import tensor_files
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.train import Trainer, resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


def poison(monkeypatch: pytest.MonkeyPatch, bad: Callable[[tuple[int, ...]], bool]) -> None:
    """Images of the steps for which `bad(place)` hold a NaN."""
    original = step_module.do_step

    def do_step(inputs: Any, context: Any, slots: Any, order: Any, micro: int, place: Any) -> float:
        if bad(place):
            real = inputs.logits
            with pytest.MonkeyPatch.context() as local:
                local.setattr(inputs, "logits", lambda part: real(part) * math.nan, raising=False)
                return original(inputs, context, slots, order, micro, place)
        return original(inputs, context, slots, order, micro, place)

    monkeypatch.setattr(engine, "do_step", do_step)


def test_a_batch_whose_loss_is_nan_is_skipped_and_recorded(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, lambda place: place == (1, 0, 1))
    train(data, tiny(), tmp_path / "run", machine=machine, progress=lines)
    found = summary(tmp_path / "run")
    assert found["skipped_batches"] == [[1, 0, 1]]
    line = "the loss was not finite at stage 1, epoch 0, step 1: that batch was skipped"
    assert line in found["notes"]
    assert any(line in said for said in lines.said)
    tensors = tensor_files.read_tensors(tmp_path / "run" / "last.safetensors")
    assert all(v.isfinite().all() for v in tensors.values() if v.is_floating_point())


def test_after_a_nan_a_stopped_run_ends_with_the_same_bits(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, lambda place: place == (1, 0, 1))
    train(data, tiny(), tmp_path / "whole", machine=machine)
    poisoned, left = engine.do_step, iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 10:
            raise Crash
        return poisoned(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, tiny(), tmp_path / "run", machine=machine)
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_more_than_three_nan_batches_are_a_clear_error(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda place: place[0] == 1)
    with pytest.raises(
        BadInput, match=r"not finite 4 times, last at stage 1.*lower the learning rate"
    ):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_a_gradient_that_is_not_finite_moves_nothing(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = step_module._accumulate

    def accumulate(inputs: Any, context: Any, *rest: Any) -> float:
        total = original(inputs, context, *rest)
        if rest[-1] == (0, 1, 0):
            context.moving[0].grad[0] = math.inf
        return total

    monkeypatch.setattr(step_module, "_accumulate", accumulate)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert found["skipped_batches"] == [[0, 1, 0]]
    assert "the gradient was not finite" in found["notes"][0]


def test_a_metric_that_is_nan_is_never_best(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, epochs = Trainer._validate, iter(range(10))

    def validate(self: Trainer, leg: Any) -> Any:
        logits = original(self, leg)
        return logits * np.float32(math.nan) if next(epochs) != 1 else logits

    monkeypatch.setattr(Trainer, "_validate", validate)
    train(data, tiny(), tmp_path / "run", machine=machine)
    assert summary(tmp_path / "run")["best_epoch"] == 1
    rows = pd.read_csv(tmp_path / "run" / "history.csv")
    assert rows["valid_loss"].notna().tolist() == [False, True, False, False]


def test_a_metric_that_never_is_a_number_is_an_error(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._validate
    monkeypatch.setattr(
        Trainer, "_validate", lambda self, leg: original(self, leg) * np.float32(math.nan)
    )
    with pytest.raises(BadInput, match="valid_loss was undefined in every epoch"):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_nan_in_the_average_alone_is_mended_from_the_network(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._run_epoch

    def run_epoch(self: Trainer, leg: Any, order: Any) -> None:
        original(self, leg, order)
        if leg.number == 1 and self.state.epoch == 0:
            name = next(n for n, v in self.average.kept.items() if v.ndim == 4)
            self.average.kept[name][0, 0, 0, 0] = math.nan

    monkeypatch.setattr(Trainer, "_run_epoch", run_epoch)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert any("average held NaN after step 9" in note for note in found["notes"])
    rows = pd.read_csv(tmp_path / "run" / "history.csv")
    assert rows["valid_loss"].notna().all()
