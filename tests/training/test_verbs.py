"""`train` and `resume` as verbs: the plan, the exit codes, what they answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lesionlab
from lesionlab.api.train import stage_weights
from lesionlab.cli.main import run
from lesionlab.config import Settings
from lesionlab.errors import BadInput, Interrupted

Recipe = Callable[..., Settings]
CONCAT = {"name": "test_efficientnet", "pretrained": False, "head": "concat_pool"}
ALL = {"name": "all", "epochs": 1}


def test_interrupted_is_exit_130_with_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("stopped and saved; continue with: lesionlab resume runs/x")

    monkeypatch.setattr("lesionlab.api.train.resume", stopped)
    assert run(["resume", "runs/x"]) == 130
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "lesionlab: stopped and saved; continue with: lesionlab resume runs/x\n"


@pytest.fixture
def preset(tiny: Recipe, tmp_path: Path) -> Path:
    """The tiny recipe as a file of the user's own."""
    path = tmp_path / "tiny.toml"
    stages = "\n".join(
        f'[[stages]]\nname = "{s}"\ntrainable = "{s}"\nepochs = 2\ncached_views = {v}'
        for s, v in (("head", 1), ("all", 0))
    )
    model = '[model]\nname = "test_efficientnet"\npretrained = false'
    path.write_text(f'batch_size = 8\nprecision = "float32"\n[input]\nsize = 32\n{model}\n{stages}')
    return path


def test_train_answers_with_what_other_tools_rely_on(
    data: Path, preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    asked = ["train", str(data), "--preset", str(preset), "--out", str(out), "--threads", "1"]
    assert run([*asked, "--epochs", "1", "--seed", "3", "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["run"] == str(out)
    assert answer["best_epoch"] in (0, 1)
    assert answer["images_per_second"] > 0
    accuracy = answer["valid"]["accuracy"]
    assert {"value", "low", "high"} <= set(accuracy)
    config = json.loads((out / "config.json").read_text())
    assert config["settings"]["seed"] == 3
    assert [s["epochs"] for s in config["settings"]["stages"]] == [1, 1]
    plan = told.err.splitlines()
    assert any("images of" in line and "to train on" in line for line in plan)
    assert any(line.startswith("stage 1 of 2: head, 1 epoch of") for line in plan)
    assert any(line.startswith("on cpu, training in float32, 1 thread") for line in plan)


def test_settings_by_hand_and_their_mistakes(
    data: Path, preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", str(data), "--preset", str(preset), "--out", str(tmp_path / "run")]
    assert run([*asked, "--set", "optim.learning_rte=1"]) == 2
    assert "unknown setting" in capsys.readouterr().err
    assert run([*asked, "--set", "monitor=accuracy_of_all"]) == 2
    assert "unknown monitor" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_from_another_runs_stage(
    data: Path, reference: Path, tiny: Recipe, tmp_path: Path, lines: Any
) -> None:
    settings = tiny(stages=[{"name": "all", "epochs": 1}])
    started = lesionlab.train(
        data, settings, tmp_path / "run", start=f"{reference}@head", threads=1, progress=lines
    )
    name = f"test_efficientnet starts from run {reference.name}, the end of its stage head"
    assert lines.said.count(name) == 1
    assert not any("random weights" in line for line in lines.said)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["weights"]["all"] == "head.safetensors"
    assert started["run"] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "test_resnet", "pretrained": False}}, "does not fit this network"),
        ({"input": {"size": 32, "channels": 1, "mean": [0.5], "std": [0.5]}}, "does not fit"),
    ],
)
def test_from_a_run_of_another_network(
    data: Path,
    reference: Path,
    tiny: Recipe,
    tmp_path: Path,
    changes: dict[str, Any],
    words: str,
    lines: Any,
) -> None:
    with pytest.raises(BadInput, match=words):
        lesionlab.train(
            data, tiny(**changes), tmp_path / "run", start=str(reference), progress=lines
        )
    assert not any("starts from" in line for line in lines.said)


@pytest.mark.parametrize("verb", ["train", "lr_find"])
def test_what_was_refused_started_from_nothing(
    data: Path, tiny: Recipe, tmp_path: Path, verb: str, lines: Any
) -> None:
    (tmp_path / "w.pth").write_bytes(b"PK cut short")
    with pytest.raises(BadInput, match=r"w\.pth"):
        getattr(lesionlab, verb)(
            data, tiny(), tmp_path / "out", weights=tmp_path / "w.pth", progress=lines
        )
    assert lines.said == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", ["", "@head"])
def test_the_range_test_says_what_it_starts_from(
    data: Path,
    reference: Path,
    tiny: Recipe,
    tmp_path: Path,
    lines: Any,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(*_: object) -> None:
        raise Interrupted("before the first step")

    monkeypatch.setattr("lesionlab.training.prepared_stage.rate_curve", ended)
    with pytest.raises(Interrupted):
        lesionlab.lr_find(
            data, tiny(), tmp_path / "x", start=f"{reference}{stage}", threads=1, progress=lines
        )
    place = "the end of its stage head" if stage else "its best"
    assert f"test_efficientnet starts from run {reference.name}, {place}" in lines.said


@pytest.mark.parametrize("verb", ["train", "lr_find"])
def test_from_a_run_and_a_weights_file_are_not_both_the_first_weights(
    tmp_path: Path, verb: str
) -> None:
    with pytest.raises(BadInput, match=r"--weights auto --from runs/a: .*give one of the two"):
        getattr(lesionlab, verb)("data", "demo", tmp_path, start="runs/a", weights="auto")


def test_from_a_stage_that_is_not_there(
    data: Path, reference: Path, tiny: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"no such stage or run.*did you mean 'head'"):
        lesionlab.train(data, tiny(), tmp_path / "run", start=f"{reference}@haed")


def run_with_stage(folder: Path) -> Path:
    (folder / "stages").mkdir(parents=True)
    for path in (folder / "best.safetensors", folder / "stages" / "head.safetensors"):
        path.touch()
    return folder


def test_a_run_whose_folder_has_an_at_sign(tmp_path: Path) -> None:
    folder = run_with_stage(tmp_path / "a@b")
    assert stage_weights(str(folder)) == folder / "best.safetensors"
    assert stage_weights(f"{folder}@head") == folder / "stages" / "head.safetensors"


@pytest.mark.parametrize("stage", ["@../best", "@", "@haed"])
def test_a_stage_is_one_of_the_runs_own(tmp_path: Path, stage: str) -> None:
    folder = run_with_stage(tmp_path / "run")
    with pytest.raises(BadInput, match=r"no such stage or run; (did you mean 'head'|known: head)"):
        stage_weights(f"{folder}{stage}")


def test_a_run_that_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such stage or run; give RUN or RUN@STAGE"):
        stage_weights(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("stages/head.safetensors", r"give --from .*run@head"),
        ("best.safetensors", r"give --from .*run$"),
        ("mine.pth", r"give --weights .*mine\.pth, or --from RUN"),
    ],
)
def test_a_file_is_no_run_and_the_line_says_what_to_type(
    tmp_path: Path, file: str, words: str
) -> None:
    folder = run_with_stage(tmp_path / "run")
    (folder / "mine.pth").touch()
    with pytest.raises(BadInput, match=rf"is a file, not a run; {words}"):
        stage_weights(str(folder / file))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
def test_a_sheet_that_cannot_be_written_is_one_line(data: Path, tiny: Recipe) -> None:
    with pytest.raises(BadInput, match=r"^/proc/y\.png: cannot be written"):
        lesionlab.augmentations(data, tiny(), "/proc/y.png")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": {"name": "binary"}, "monitor": "f1"}, "unknown monitor 'f1'"),
        ({"model": {"name": "mias_tutorial", "head": "own"}}, "takes 48 x 48 images, not 32 x 32"),
        ({"model": {"name": "no_such_net", "pretrained": False}}, "unknown network"),
        (
            {"stages": [{"name": "a", "epochs": 1, "start_from": "best"}]},
            "the first stage cannot start",
        ),
        ({"precision": "float16"}, "float16 training needs a GPU"),
        (
            {"model": CONCAT, "micro_batch": 1},
            "stage all needs at least two images per micro-batch; .*micro_batch",
        ),
        ({"model": CONCAT, "batch_size": 1}, "batch_size: .*stage head needs at least two images"),
        (
            {"model": CONCAT | {"head": "flatten_dense"}, "stages": [{**ALL, "size": 64}]},
            r"stages.0.size: 'test_efficientnet' cannot take 64 x 64 images",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    data: Path, tiny: Recipe, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        lesionlab.train(data, tiny(**changes), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def without_malignant_in_validation(data: Path, to: Path) -> Path:
    shutil.copytree(data, to)
    table = pd.read_csv(to / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[(table["split"] == "valid") & (table["label"] == "malignant"), "split"] = "train"
    table.to_csv(to / "manifest.csv", index=False)
    return to


def test_a_monitor_that_validation_cannot_give_is_refused(
    data: Path, tiny: Recipe, tmp_path: Path
) -> None:
    lame = without_malignant_in_validation(data, tmp_path / "lame")
    with pytest.raises(BadInput, match=r"class 'malignant' has no validation image.*split again"):
        lesionlab.train(lame, tiny(monitor=None), tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()
    head = [{"name": "head", "trainable": "head", "epochs": 1, "cached_views": 1}]
    settings = tiny(monitor="valid_loss", stages=head)
    assert lesionlab.train(lame, settings, tmp_path / "run", threads=1)["best_epoch"] == 0


def test_a_device_that_is_not_there(data: Path, tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither cpu nor cuda"):
        lesionlab.train(data, tiny(), tmp_path / "run", device="tpu")


def test_resume_of_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resume", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"micro_batch": 1}, "micro_batch"), ({"batch_size": 1, "micro_batch": 1}, "batch_size")],
)
def test_one_image_at_a_time_is_refused_where_a_batch_norm_would_see_one_value(
    data: Path, tiny: Recipe, tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    settings = tiny(stages=[ALL], **changes)
    with pytest.raises(BadInput, match=f"{key}: .*a single cell.* needs at least two images"):
        lesionlab.train(data, settings, tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()
