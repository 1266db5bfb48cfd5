from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lesionlab
from lesionlab.api.ensemble import ensemble
from lesionlab.api.repeat import repeat
from lesionlab.config import Settings
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.experiments.ensemble import rank_logits

Tiny = Callable[..., Settings]
HOW: dict[str, Any] = {"device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def runs(lesions: Path, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of one split, with other weights."""
    folder = tmp_path_factory.mktemp("members")
    for seed in (0, 1):
        lesionlab.train(lesions, tiny(seed=seed), folder / f"r{seed}", **HOW)
    return [folder / "r0", folder / "r1"]


@pytest.fixture(scope="module")
def repeats(lesions: Path, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("repeats")
    recipes = [tiny(name="a"), tiny(name="b", optim={"name": "sgd"})]
    repeat(lesions, recipes, folder, folds=2, train_part=False, **HOW)
    return [folder / "a", folder / "b"]


def test_the_mean_is_that_of_the_calibrated_probabilities(runs: list[Path], tmp_path: Path) -> None:
    told = ensemble(runs, tmp_path / "e", **HOW)
    each = [read_predictions(run / "predictions-valid.csv") for run in runs]
    both = read_predictions(tmp_path / "e" / "predictions-valid.csv")
    assert list(both.image_id) == list(each[0].image_id)
    assert both.logits is not None
    wanted = np.log((each[0].y_prob + each[1].y_prob) / 2)
    assert both.logits == pytest.approx(wanted, abs=2e-5)
    assert set(told["members"]) == {"r0", "r1"}
    assert told["held_out"] == "validation"
    right = (both.y_prob.argmax(1) == both.y_true).mean()
    assert told["valid"]["accuracy"]["value"] == pytest.approx(right)


@pytest.mark.slow
def test_it_evaluates_exports_and_predicts_like_a_run(
    runs: list[Path], lesions: Path, tmp_path: Path
) -> None:
    ensemble(runs, tmp_path / "e", tta=True, **HOW)
    shown = lesionlab.evaluate(tmp_path / "e", images=False, resamples=50)
    assert shown["part"] == "valid"
    assert Path(shown["report"]).is_file()
    made = lesionlab.export(tmp_path / "e", tmp_path / "b")
    assert made["parity"]["max_probability_difference"] < 1e-4
    assert made["parity"]["max_difference_to_run"] < 1e-3  # the views are those of the run too
    assert made["operating_points"] == [p["chosen"] for p in shown["operating_points"]] == []
    assert made["no_operating_point"] in shown["notes"]  # the bundle says what the report says
    lesionlab.predict(tmp_path / "b", lesions / "images", csv=tmp_path / "p.csv")
    assert (tmp_path / "p.csv").is_file()


def test_turns_and_flips_of_a_single_run(runs: list[Path], tmp_path: Path) -> None:
    told = ensemble(runs[:1], tmp_path / "e", tta=True, **HOW)
    assert told["views"] == 8
    one = read_predictions(runs[0] / "predictions-valid.csv")
    many = read_predictions(tmp_path / "e" / "predictions-valid.csv")
    assert np.abs(one.y_prob - many.y_prob).max() > 1e-6
    with pytest.raises(BadInput, match="needs more than one member"):
        ensemble(runs[:1], tmp_path / "f", **HOW)


def test_test_predictions_come_from_the_members(
    runs: list[Path], lesions: Path, tmp_path: Path
) -> None:
    from lesionlab.experiments.ensemble_folder import ensemble_predictions
    from lesionlab.run_folder import read_run
    from lesionlab.training.inference import predict_split

    for method in ("mean", "rank"):
        ensemble(runs, tmp_path / method, method=method, **HOW)  # type: ignore[arg-type]
        found = ensemble_predictions(read_run(tmp_path / method), "test")
        assert set(found.image_id) == set(read_dataset(lesions).part("test")["image_id"])
        assert found.y_prob.sum(1) == pytest.approx(1)
        with pytest.raises(BadInput, match="were trained on 'train'"):
            ensemble_predictions(read_run(tmp_path / method), "train")
    mean = ensemble_predictions(read_run(tmp_path / "mean"), "test")
    network = predict_split(tmp_path / "mean", "test")  # the one network of `export`
    assert network.y_prob == pytest.approx(mean.y_prob, abs=1e-4)


def test_ranks_see_the_order_only() -> None:
    generator = np.random.default_rng(0)
    y_prob = generator.dirichlet([1, 1, 1], (2, 50))
    squeezed = np.sqrt(y_prob)
    assert rank_logits(y_prob, y_prob) == pytest.approx(rank_logits(squeezed, squeezed))
    assert (np.exp(rank_logits(y_prob, y_prob)) < 1).all()


def test_stacking_on_in_fold_predictions_is_refused(
    runs: list[Path], repeats: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="stacking needs out-of-fold predictions"):
        ensemble(runs, tmp_path / "e", method="stack", **HOW)
    with pytest.raises(BadInput, match="runs and repeats cannot be mixed"):
        ensemble([runs[0], repeats[0]], tmp_path / "e", **HOW)
    with pytest.raises(BadInput, match="no method 'median'"):
        ensemble(runs, tmp_path / "e", method="median", **HOW)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="no out-of-fold predictions of seed 3"):
        ensemble(repeats, tmp_path / "e", method="stack", seed=3, **HOW)
    with pytest.raises(BadInput, match="'mean' uses no clinical metadata"):
        ensemble(runs, tmp_path / "e", facts=["age"], **HOW)
    assert not (tmp_path / "e").exists()


def test_members_that_do_not_fit_are_named(
    runs: list[Path], lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    from lesionlab.api.split import split

    with pytest.raises(BadInput, match="r0: was given twice"):
        ensemble([runs[0], runs[1], runs[0]], tmp_path / "e", **HOW)
    ensemble(runs, tmp_path / "e", **HOW)
    with pytest.raises(BadInput, match="e: is an ensemble itself"):
        ensemble([runs[0], tmp_path / "e"], tmp_path / "f", **HOW)
    data = Path(shutil.copytree(lesions, tmp_path / "data", symlinks=True))
    split(data, test=0.2, valid=0.2, seed=7, search=False)
    lesionlab.train(data, tiny(), tmp_path / "other", **HOW)
    with pytest.raises(BadInput, match="other: was trained on other data, or another split"):
        ensemble([runs[0], tmp_path / "other"], tmp_path / "f", **HOW)


def test_options_are_refused_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(what: str) -> None:
        raise AssertionError("torch is imported")

    monkeypatch.setattr("lesionlab.extras.need_torch", imported)
    for how, told in (
        ({}, "more than one member"),
        ({"facts": ["age"], "tta": True}, "no clinical"),
    ):
        with pytest.raises(BadInput, match=told):
            ensemble([tmp_path / "r"], tmp_path / "e", **how)  # type: ignore[arg-type]


def test_members_of_one_name_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    for name, run in zip(("x", "y"), runs, strict=True):
        shutil.copytree(run, tmp_path / name / "handmade")
    told = ensemble([tmp_path / "x" / "handmade", tmp_path / "y" / "handmade"],
                    tmp_path / "e", **HOW)  # fmt: skip
    assert set(told["members"]) == {"x/handmade", "y/handmade"}


def test_folds_of_a_data_set_that_was_split_again_are_refused(
    lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    from lesionlab.api.split import split
    from lesionlab.data.groups import united_groups
    from lesionlab.experiments.ensemble import Context, refuse_sealed
    from lesionlab.progress import SILENT
    from lesionlab.training.device import choose_machine

    data = Path(shutil.copytree(lesions, tmp_path / "data", symlinks=True))
    repeat(data, tiny(), tmp_path / "r", folds=2, train_part=False, **HOW)
    split(data, test=0.3, valid=0.2, seed=5, search=False)
    with pytest.raises(BadInput, match="it was split again, or edited"):
        ensemble([tmp_path / "r"], tmp_path / "e", tta=True, **HOW)
    dataset = read_dataset(data).in_order()
    context = Context(dataset, choose_machine("cpu", "float32", 1), SILENT)
    groups = united_groups(dataset.table)
    train = np.flatnonzero(dataset.table["split"] == "train")
    refuse_sealed(train, groups, context)
    kin = groups.copy()
    kin[train[0]] = kin[np.flatnonzero(dataset.table["split"] == "test")[0]]
    with pytest.raises(
        BadInput, match="1 folded image is now in the test split, or shares a group"
    ):
        refuse_sealed(train, kin, context)


def test_out_of_fold_predictions_must_be_those_of_the_folds(
    repeats: list[Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(repeats[0], tmp_path / "a", symlinks=True))
    lines = (copy / "oof-seed0.csv").read_text().splitlines(keepends=True)
    (copy / "oof-seed0.csv").write_text("".join(lines[:-1]))
    with pytest.raises(BadInput, match="holds images other than those"):
        ensemble([copy, repeats[1]], tmp_path / "e", **HOW)


@pytest.mark.slow
def test_an_ensemble_of_a_leaking_repeat_is_leaky(
    lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    from lesionlab.run_folder import read_run

    repeat(lesions, tiny(), tmp_path / "r", folds=2, allow_leak=True, train_part=False, **HOW)
    ensemble([tmp_path / "r"], tmp_path / "e", handmade=True, **HOW)
    data = read_run(tmp_path / "e").config.dataset
    assert data.leaky
    assert "dealt by image" in data.leak_reason
    assert lesionlab.evaluate(tmp_path / "e", images=False, resamples=50)["leaky"]


def test_an_opening_names_the_weights_of_all_members(
    runs: list[Path], lesions: Path, tmp_path: Path
) -> None:
    from lesionlab.data import ledger

    data = Path(shutil.copytree(lesions, tmp_path / "data", symlinks=True))
    ensemble(runs, tmp_path / "e", data=data, **HOW)
    lesionlab.evaluate(tmp_path / "e", split="test", images=False, resamples=50)
    each = [hashlib.sha256((r / "best.safetensors").read_bytes()).hexdigest() for r in runs]
    together = hashlib.sha256("".join(each).encode()).hexdigest()
    assert ledger.openings(data)[-1]["model"] == together


def test_a_stack_learns_out_of_fold_and_reads_facts(repeats: list[Path], tmp_path: Path) -> None:
    told = ensemble(repeats, tmp_path / "e", method="stack", handmade=True, **HOW)
    assert told["facts"] == ["age", "sex", "site"]
    assert set(told["members"]) == {"a", "b", "handmade"}
    assert set(told["folds"]) == {"0", "1"}
    shown = lesionlab.evaluate(tmp_path / "e", images=False, resamples=50)
    assert shown["n"] == told["n"]
    with pytest.raises(
        BadInput, match="a stack ends in boosted trees: it cannot be exported as one network"
    ):
        lesionlab.export(tmp_path / "e", tmp_path / "b")
    with pytest.raises(BadInput, match="trained on 'calib'"):
        lesionlab.evaluate(tmp_path / "e", split="calib")


@pytest.mark.slow
def test_fold_models_are_averaged_on_test_and_not_exported(
    repeats: list[Path], tmp_path: Path
) -> None:
    from lesionlab.experiments.ensemble_folder import ensemble_predictions
    from lesionlab.run_folder import read_run

    for method in ("mean", "stack"):
        ensemble(repeats, tmp_path / method, method=method, handmade=True, **HOW)  # type: ignore[arg-type]
        found = ensemble_predictions(read_run(tmp_path / method), "test")
        assert found.y_prob.sum(1) == pytest.approx(1)
        again = ensemble_predictions(read_run(tmp_path / method), "test")
        assert (again.y_prob == found.y_prob).all()  # the trees are fitted again, to the same bits
    ensemble(repeats, tmp_path / "folds", tta=True, **HOW)
    with pytest.raises(BadInput, match="fold runs have seen every image"):
        lesionlab.export(tmp_path / "folds", tmp_path / "b")


def test_changed_weights_are_found(
    runs: list[Path], lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    from lesionlab.experiments.ensemble_folder import ensemble_predictions
    from lesionlab.run_folder import read_run

    copies = [Path(shutil.copytree(r, tmp_path / r.name)) for r in runs]
    ensemble(copies, tmp_path / "e", **HOW)
    shutil.copy(copies[1] / "best.safetensors", copies[0] / "best.safetensors")
    with pytest.raises(BadInput, match="have changed since the ensemble was made"):
        ensemble_predictions(read_run(tmp_path / "e"), "test")


def test_the_verb(runs: list[Path], tmp_path: Path) -> None:
    from lesionlab.cli.ensemble import command

    arguments = [*map(str, runs), "--out", str(tmp_path / "e"), "--threads", "1"]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0, shown.output
    assert "mean of 2" in shown.output
    assert "together" in shown.output


def test_a_member_of_several_views_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from lesionlab.cli.ensemble import _show

    result = {"ensemble": "e", "method": "mean", "views": 8, "held_out": "validation", "n": 9,
              "members": {"r0": {}, "handmade": {}}, "valid": {}, "groups": 9,
              "notes": ["few rows"]}  # fmt: skip
    _show(result)
    rows = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert rows[1:4] == ["r0, 8 views", "handmade", "together"]
    assert "note: few rows" in rows
