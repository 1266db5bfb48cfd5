"""What has changed since a run began (faults 12 to 14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.faults import Crash, copy_of, summary
from lesionlab.api.split import split
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.run_folder import read_run
from lesionlab.training import checkpoint
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine, choose_machine
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


def test_the_scaler_of_float16_is_restored(
    data: Path, tiny: Recipe, tmp_path: Path, outcome: Outcome
) -> None:
    half = Machine("cpu", "float16", 1)
    settings = tiny(stages=[{"name": "all", "epochs": 2}], checkpoint_seconds=0.0)
    train(data, settings, tmp_path / "whole", machine=half)
    left = iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 4:
            raise Crash
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, settings, tmp_path / "run", machine=half)
    found = checkpoint.latest(tmp_path / "run" / "checkpoints", engine.SILENT)
    assert found.state.scaler["scale"] > 0
    assert found.state.scaler["_growth_tracker"] == 4 or found.state.scaler["scale"] < 65536
    resume(tmp_path / "run", machine=half)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_changed_labels_are_refused_with_the_difference(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    names = sorted(set(table["label"]))
    row = table.index[table["label"] == names[0]][0]
    table.loc[row, "label"] = names[1]
    table.to_csv(other / "manifest.csv", index=False)
    with pytest.raises(BadInput, match="0 images gone, 0 added, 1 changed") as error:
        resume(stopped, dataset_folder=other, machine=machine)
    told = f"{table.loc[row, 'image_id']}, label was {names[0]}, is {names[1]}"
    assert told in str(error.value)


def test_images_gone_and_added_are_counted(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[table.index[0], "image_id"] = "new"
    table.iloc[:-1].to_csv(other / "manifest.csv", index=False)
    with pytest.raises(BadInput, match="2 images gone, 1 added, 0 changed"):
        resume(stopped, dataset_folder=other, machine=machine)


def test_another_order_of_classes_is_refused(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    info = json.loads((other / "dataset.json").read_text())
    info["classes"] = info["classes"][::-1]
    (other / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(
        BadInput, match="classes have changed from benign, malignant to malignant, benign"
    ):
        resume(stopped, dataset_folder=other, machine=machine)


def test_data_that_only_moved_are_the_same_run(
    stopped: Path, reference: Path, data: Path, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    table.iloc[::-1].to_csv(other / "manifest.csv", index=False)  # and in another order
    resume(stopped, dataset_folder=other, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_changed_settings_are_refused_with_the_difference(stopped: Path, machine: Machine) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["settings"]["optim"]["clip"] = 2.0
    (stopped / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"settings have changed.*optim.clip was 1.0, is 2.0"):
        resume(stopped, machine=machine)


def test_a_run_of_0_1_0_is_resumed(
    stopped: Path, reference: Path, machine: Machine, outcome: Outcome
) -> None:
    """Its configuration and checkpoints name neither the filter nor the crop."""
    for path in [stopped / "config.json", *(stopped / "checkpoints").glob("*.json")]:
        content = json.loads(path.read_text())
        del content["settings"]["input"]["interpolation"], content["settings"]["input"]["crop"]
        path.write_text(json.dumps(content))
    shown = read_run(stopped).config.settings.input
    assert (shown.interpolation, shown.crop) == ("bilinear", 1.0)
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_another_filter_is_refused(stopped: Path, machine: Machine) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["settings"]["input"]["interpolation"] = "bicubic"
    (stopped / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"input\.interpolation was bilinear, is bicubic"):
        resume(stopped, machine=machine)


def test_settings_that_change_no_number_may_change(
    stopped: Path, reference: Path, machine: Machine, outcome: Outcome
) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["settings"]["checkpoint_seconds"] = 60.0
    (stopped / "config.json").write_text(json.dumps(config))
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_another_machine_is_said_to_be_not_bit_exact(stopped: Path, lines: Any) -> None:
    resume(stopped, machine=choose_machine("cpu", "bfloat16", 1), progress=lines)
    words = "not bit-exact with the uninterrupted run: precision was float32, is bfloat16"
    assert words in lines.said
    assert words in summary(stopped)["notes"]


def test_a_checkpoint_that_records_less_is_said_to_be_not_bit_exact(
    stopped: Path, machine: Machine, lines: Any
) -> None:
    for manifest in (stopped / "checkpoints").glob("[0-9]*.json"):
        content = json.loads(manifest.read_text())
        del content["fingerprint"]["numerics"]
        manifest.write_text(json.dumps(content))
    resume(stopped, machine=machine, progress=lines)
    said = "not bit-exact with the uninterrupted run: numerics was not recorded, is 1"
    assert said in lines.said


def test_other_threads_are_said_to_be_not_bit_exact(stopped: Path, lines: Any) -> None:
    other = Machine("cpu", "float32", 2)
    resume(stopped, machine=other, progress=lines)
    assert any("not bit-exact" in line and "threads was 1, is 2" in line for line in lines.said)


def test_a_run_that_was_trained_on_what_is_to_judge_is_no_start(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    split(other, test=0.2, valid=0.25, seed=7, search=False)
    start = reference / "stages" / "head.safetensors"
    with pytest.raises(BadInput, match=r"was trained on \d+ images of the validation and test"):
        train(other, tiny(), tmp_path / "run", start=start, machine=machine)
    assert not (tmp_path / "run").exists()


def test_a_run_names_the_one_that_it_began_from(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    start = reference / "stages" / "head.safetensors"
    recipe = tiny(stages=[{"name": "head", "trainable": "head", "epochs": 1, "cached_views": 1}])
    run = train(data, recipe, tmp_path / "run", start=start, machine=machine)
    assert run.config.weights["run"] == reference.name
    assert run.config.weights["data"] == run.config.dataset.fingerprint
