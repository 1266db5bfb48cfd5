from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("optuna", reason="tuning needs the extra 'tune'")

from lesionlab.api.split import split
from lesionlab.api.tune import tune
from lesionlab.config import Settings
from lesionlab.data import ledger
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.experiments import tune as parts
from lesionlab.experiments.presets import load_preset

Tiny = Callable[..., Settings]
HOW: dict[str, Any] = {"device": "cpu", "threads": 1}
SPACE = """
["stages.0.max_lr"]
low = 1e-4
high = 0.1
log = true

["model.dropout"]
choices = [0.0, 0.3]

["stages.0.epochs"]
low = 2
high = 4
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


@pytest.mark.slow
def test_trials_go_on_and_never_see_test(
    lesions: Path, tiny: Tiny, space: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = (lesions / "manifest.csv").read_bytes()
    first = tune(lesions, tiny(), out, trials=2, space=space, **HOW)
    assert [row["trial"] for row in first["trials"]] == [0, 1]
    assert first["first"] == first["trials"][0]["value"]
    twin = read_dataset(out / "data").table
    sealed = set(read_dataset(lesions).part("test")["image_id"])
    assert set(twin.loc[twin["image_id"].isin(sealed), "split"]) == {""}
    for run in (out / "runs").iterdir():
        seen = (run / "predictions-valid.csv").read_text()
        assert not any(image in seen for image in sealed)
    assert ledger.openings(lesions) == []
    assert (lesions / "manifest.csv").read_bytes() == before
    more = tune(lesions, tiny(), out, trials=3, space=space, **HOW)
    assert more["trials"][:2] == first["trials"]
    assert len(more["trials"]) == 3
    best = max(row["value"] for row in more["trials"] if row["value"] is not None)
    assert more["best"]["value"] == best
    assert "optimistic" in more["sentence"]
    recipe = load_preset(more["recipe"])
    assert recipe.name == "tiny-tuned"
    assert recipe.model.dropout == more["best"]["params"]["model.dropout"]
    with pytest.raises(BadInput, match=r"another settings\.batch_size \(16, now 8\)"):
        tune(lesions, tiny(batch_size=8), out, trials=3, space=space, **HOW)
    again = Path(shutil.copytree(lesions, tmp_path / "again", symlinks=True))
    same = tune(again, tiny(), out, trials=3, space=space, **HOW)  # the same data elsewhere
    assert same["trials"] == more["trials"]
    plan = json.loads((out / "plan.json").read_text())
    (out / "plan.json").write_text(
        json.dumps({k: v for k, v in plan.items() if k not in ("fingerprint", "weights_sha256")})
    )
    split(again, test=0.2, valid=0.2, seed=3, search=False)
    with pytest.raises(BadInput, match="another fingerprint"):  # of an older plan, too
        tune(again, tiny(), out, trials=3, space=space, **HOW)
    tune(lesions, tiny(), out, trials=3, space=space, **HOW)
    assert json.loads((out / "plan.json").read_text()) == plan


def test_weights_are_known_by_their_content(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny().model_dump(mode="json")
    task = parts.Task(str(tmp_path / "o"), settings, {}, "a", "cpu", 1, 0, "valid_loss", True)
    parts.keep_plan(tmp_path / "o", replace(task, weights_sha256="1"))
    parts.keep_plan(tmp_path / "o", replace(task, weights="b", weights_sha256="1"))
    with pytest.raises(BadInput, match=r"another weights_sha256 \(1, now 2\)"):
        parts.keep_plan(tmp_path / "o", replace(task, weights_sha256="2"))


def test_a_preset_outside_the_space_is_not_said_to_have_been_tried(
    lesions: Path, tiny: Tiny, tmp_path: Path, lines: Any
) -> None:
    (tmp_path / "s.toml").write_text('["stages.0.max_lr"]\nlow = 1e-4\nhigh = 1e-3\n')
    told = tune(
        lesions, tiny(), tmp_path / "o", trials=1, space=tmp_path / "s.toml", progress=lines, **HOW
    )
    assert told["first"] is None
    assert told["outside"] == ["stages.0.max_lr"]
    assert "with the preset" not in told["sentence"]
    assert any("stages.0.max_lr (0.05) is outside the search space" in line for line in lines.said)


def test_a_trial_that_falls_behind_is_pruned(
    lesions: Path, tiny: Tiny, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "STARTUP", 1)
    optuna = parts.need_optuna()
    out = tmp_path / "out"
    tune(lesions, tiny(), out, trials=1, space=space, **HOW)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: True)
    told = tune(lesions, tiny(), out, trials=2, space=space, **HOW)
    assert told["pruned"] == 1
    assert told["trials"][1]["state"] == "pruned"
    assert told["trials"][1]["epochs"] == 1
    assert not (out / "runs" / "trial1" / "checkpoints").exists()
    assert told["best"]["trial"] == 0


def test_a_killed_trial_is_tried_again_with_its_settings(
    lesions: Path, tiny: Tiny, space: Path, tmp_path: Path, lines: Any
) -> None:
    out = tmp_path / "out"
    told = tune(lesions, tiny(), out, trials=1, space=space, **HOW)
    task = parts.Task(str(out), {}, {}, None, "cpu", 1, 0, told["monitor"], False)
    study = parts.open_study(task)
    killed = study.ask()
    killed.suggest_float("stages.0.max_lr", 1e-4, 0.1, log=True)
    killed.suggest_categorical("model.dropout", [0.0, 0.3])
    killed.suggest_int("stages.0.epochs", 2, 4)
    again = tune(lesions, tiny(), out, trials=2, space=space, **HOW)
    assert again["retried"] == [1]
    assert [row["state"] for row in again["trials"]] == ["complete", "fail", "complete"]
    assert again["trials"][2]["params"] == again["trials"][1]["params"]
    study.ask()
    last = tune(lesions, tiny(), out, trials=2, space=space, progress=lines, **HOW)
    assert last["retried"] == []  # nothing is left to do
    assert any("trial 3 did not finish: increase --trials" in line for line in lines.said)


def test_a_job_begun_again_tries_its_own_settings_again(tmp_path: Path) -> None:
    task = parts.Task(str(tmp_path), {}, {}, None, "cpu", 1, 0, "valid_roc_auc", False, job="4.1")
    study = parts.open_study(task)
    for job in ("4.0", "4.1"):  # two workers; the second one dies
        trial = study.ask()
        trial.set_user_attr(parts.JOB, job)
        trial.suggest_float("x", 0, 1)
    assert parts.requeued(study, "4.1") == [1]
    trials = study.get_trials()
    assert [t.state.name for t in trials] == ["RUNNING", "FAIL", "WAITING"]
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == trials[1].params["x"]


def test_the_verb(lesions: Path, space: Path, tmp_path: Path) -> None:
    from lesionlab.cli.tune import command

    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\nmodel = { name = "test_resnet", pretrained = false }\n'
        "input = { size = 32 }\n[[stages]]\n"
        'name = "head"\ntrainable = "head"\nepochs = 1\ncached_views = 1\n'
    )
    arguments = [str(lesions), "--preset", str(recipe), "--out", str(tmp_path / "o")]
    arguments += ["--trials", "1", "--space", str(space), "--threads", "1"]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0, shown.output
    assert "best valid_roc_auc" in shown.output
