"""Out of memory, and two runs in one folder (faults 23, 24)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.faults import summary
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


def test_out_of_memory_halves_the_micro_batch_and_records_it(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = step_module.do_step, []

    def hungry(inputs: Any, context: Any, slots: Any, order: Any, micro: int, place: Any) -> float:
        if place[0] == 1 and micro > 2:
            raise torch.OutOfMemoryError("no memory left")
        sizes.append((place[0], micro, len(slots)))
        return original(inputs, context, slots, order, micro, place)

    monkeypatch.setattr(engine, "do_step", hungry)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert found["micro_batches"] == {"all": 2}
    assert "memory ran out in stage all: micro-batches of 2 instead of 4" in found["notes"][0]
    assert {s for s in sizes if s[0] == 1} == {(1, 2, 8)}  # the step is of 8 images as before


def test_out_of_memory_at_the_smallest_micro_batch_is_one_line(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any) -> float:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(engine, "do_step", hungry)
    with pytest.raises(BadInput, match="not enough memory even for micro-batches of 2"):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_two_runs_in_one_folder(stopped: Path, machine: Machine) -> None:
    with engine.locked(stopped), pytest.raises(BadInput, match=f"pid {os.getpid()}.*is writing"):
        resume(stopped, machine=machine)


def test_the_lock_of_a_dead_process_holds_nobody_up(
    stopped: Path, reference: Path, machine: Machine, outcome: Outcome
) -> None:
    (stopped / ".lock").write_text("pid 1")
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_a_finished_run_is_returned_as_it_is(reference: Path, machine: Machine, lines: Any) -> None:
    before = (reference / "calibration.json").stat().st_mtime_ns
    resume(reference, machine=machine, progress=lines)
    assert (reference / "calibration.json").stat().st_mtime_ns == before
    assert any("is finished" in line for line in lines.said)
