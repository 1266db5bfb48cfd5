"""A later call goes on only where it asks for the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lesionlab.config import InputSettings, Settings, Stage
from lesionlab.errors import BadInput
from lesionlab.experiments.plan_file import PLAN, check_plan

OLD: dict[str, Any] = {
    "folds": 5,
    "settings": {"name": "a", "expected": "not measured yet", "batch_size": 16},
}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    (tmp_path / PLAN).write_text(json.dumps(OLD))
    return tmp_path


def test_a_preset_that_was_only_reworded_is_the_same_plan(begun: Path) -> None:
    settings = {**OLD["settings"], "expected": "AUC 0.9", "source": "a paper"}
    check_plan(begun, {**OLD, "settings": settings}, free=(), absent={})


def test_another_number_is_named_with_both_values(begun: Path) -> None:
    settings = {**OLD["settings"], "batch_size": 8}
    with pytest.raises(BadInput, match=r"another settings\.batch_size \(16, now 8\)"):
        check_plan(begun, {**OLD, "settings": settings}, free=(), absent={})


def test_a_plan_of_0_1_0_goes_on(tmp_path: Path) -> None:
    """It names neither the filter nor the crop of the input."""
    recipe = Settings(stages=(Stage(name="head", epochs=3),)).with_input(InputSettings())
    now = recipe.model_dump(mode="json")
    shown = {k: v for k, v in now["input"].items() if k not in ("interpolation", "crop")}
    assert len(shown) == len(now["input"]) - 2
    (tmp_path / PLAN).write_text(json.dumps({"settings": {**now, "input": shown}}))
    check_plan(tmp_path, {"settings": now}, free=(), absent={})
    other = {**now, "input": {**now["input"], "crop": 0.875}}
    with pytest.raises(BadInput, match=r"another settings\.input\.crop \(1\.0, now 0\.875\)"):
        check_plan(tmp_path, {"settings": other}, free=(), absent={})


def test_a_key_that_is_free_may_change(begun: Path) -> None:
    check_plan(begun, {**OLD, "folds": 3}, free=("folds",), absent={})


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        check_plan(tmp_path, OLD, free=(), absent={})
