"""`evaluate`: data to choose on, recalibration, conformal sets, repeats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab import files
from lesionlab.api.evaluate import evaluate
from lesionlab.cli.main import run as run_cli
from lesionlab.config import Settings, Stage
from lesionlab.data import ledger
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo, write_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.run_folder import DatasetReference, RunConfig, write_config, write_history

CLASSES = ("mel", "nv")
PRIOR = np.array([0.35, 0.65])
FAST: dict[str, Any] = {"resamples": 20, "images": False}


def draw(prefix: str, n: int, seed: int, sharp: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < PRIOR[1]).astype(np.int64)
    z = rng.normal(0, 1, (n, 2)) + np.log(PRIOR)
    z[np.arange(n), truth] += 2
    prob = np.exp(sharp * z) / np.exp(sharp * z).sum(1, keepdims=True)
    ids = np.array([f"{prefix}{i}" for i in range(n)], object)
    lesions = np.array([f"L{prefix}{i // 2}" for i in range(n)], object)
    return Predictions(ids, np.array([""] * n, object), lesions, CLASSES, truth, prob, z)


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Overconfident predictions of 400 images, and as many to calibrate on."""
    write_predictions(tmp_path / "test.csv", draw("e", 400, 2, 8.0))
    write_predictions(tmp_path / "valid.csv", draw("v", 400, 1, 8.0))
    return tmp_path / "test.csv", tmp_path / "valid.csv"


def make_run(folder: Path, data: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    reference = DatasetReference(
        folder=str(data), name="set", source="test", classes=CLASSES, malignant=("mel",),
        fingerprint="f" * 64, images={"valid": 400},
    )  # fmt: skip
    settings = Settings(stages=(Stage(name="head", epochs=2),), seed=seed)
    write_config(folder, RunConfig(settings=settings, dataset=reference))
    write_history(folder, [{"epoch": e, "train_loss": 1 / e, "lr": 0.1} for e in (1, 2)])
    prior = dict(zip(CLASSES, PRIOR.tolist(), strict=True))
    files.write_json(
        folder / "calibration.json",
        {
            "temperature": 1.2,
            "prior": prior,
            "train_prior": prior,
            "fitted_on": "valid",
            "n": 150,
            "groups": 75,
        },
    )
    for part, first in (("valid", 10), ("test", 20), ("calib", 30)):
        write_predictions(folder / f"predictions-{part}.csv", draw(part[0], 400, first + seed))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    import pandas as pd

    rows = [
        {"image_id": p.image_id[i], "lesion_id": p.lesion_id[i], "label": CLASSES[p.y_true[i]],
         "split": part, "path": "images/none.png", "sha256": f"{k}{i:063d}"}
        for k, part in enumerate(("valid", "test", "calib"))
        for p in [draw(part[0], 400, 10 * (k + 1))]
        for i in range(400)
    ]  # fmt: skip
    (tmp_path / "data" / "images").mkdir(parents=True)
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS), fill_value="")
    info = DatasetInfo(name="set", source="test", classes=CLASSES, malignant=("mel",))
    write_dataset(Dataset(tmp_path / "data", table, info))
    return tmp_path / "data"


@pytest.fixture
def runs(tmp_path: Path, data: Path) -> Path:
    for seed in range(3):
        make_run(tmp_path / "runs" / f"s{seed}", data, seed)
    return tmp_path / "runs"


def test_a_threshold_is_chosen_on_another_table(tables: tuple[Path, Path]) -> None:
    test, valid = tables
    result = evaluate(test, split="test", calib=valid, **FAST)
    (point,) = result["operating_points"]
    assert point["chosen"]["chosen_on"] == "calib"
    alone = evaluate(valid, split="valid", policy="sensitivity_bound", **FAST)
    assert point["threshold"] == alone["operating_points"][0]["threshold"]
    low = evaluate(test, calib=valid, point=True, **FAST)["operating_points"][0]
    assert low["chosen"]["policy"] == "sensitivity"
    with pytest.raises(BadInput, match="--point-estimate means the policy"):
        evaluate(test, calib=valid, point=True, policy="youden", **FAST)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic", "dirichlet"])
def test_each_recalibration_mends_overconfidence(tables: tuple[Path, Path], method: str) -> None:
    test, valid = tables
    before = evaluate(test, calib=valid, **FAST)["metrics"]["nll"]["value"]
    result = evaluate(test, calib=valid, calibration=method, **FAST)
    assert result["metrics"]["nll"]["value"] < before - 0.05
    (note,) = [n for n in result["notes"] if "recalibrated" in n]
    expected = f"probabilities recalibrated ({method}) on 400 images of --calib"
    if method in ("isotonic", "dirichlet"):  # lesions of two images, some with both classes
        expected = (
            f"probabilities recalibrated ({method}) on 198 images of --calib (99 groups); "
            "threshold and sets are calibrated on the other 202 (101 groups)"
        )
    assert note == expected
    with pytest.raises(BadInput, match="must not be fitted"):
        evaluate(test, calibration=method, **FAST)


@pytest.mark.parametrize("method", ["isotonic", "dirichlet"])
def test_arrays_are_divided_as_their_table_in_whatever_order(
    tables: tuple[Path, Path], method: str
) -> None:
    stored = evaluate(tables[0], calib=tables[1], calibration=method, malignant=["mel"], **FAST)
    p, other = draw("e", 400, 2, 8.0), draw("v", 400, 1, 8.0)
    other = other.take(np.random.default_rng(0).permutation(400))
    found = evaluate(
        y_true=np.array(CLASSES)[p.y_true], y_prob=p.y_prob, classes=CLASSES,
        groups={"lesion_id": p.lesion_id},
        calib={"y_true": np.array(CLASSES)[other.y_true], "y_prob": other.y_prob,
               "groups": {"lesion_id": other.lesion_id}},
        calibration=method, positive=["mel"], resamples=20,
    )  # fmt: skip
    for name in ("nll", "roc_auc", "accuracy"):
        theirs = stored["metrics"][name]
        assert found.metrics[name].value == pytest.approx(theirs["value"], abs=1e-6)
    ours = [p["chosen"]["positive_groups"] for p in found.operating_points]
    assert ours == [p["chosen"]["positive_groups"] for p in stored["operating_points"]]
    (note,) = [n for n in found.notes if "recalibrated" in n]
    assert note.replace("calib (", "--calib (") in stored["notes"]


def test_halves_that_are_too_small_are_refused_with_what_to_do(tables: tuple[Path, Path]) -> None:
    test, valid = tables
    p = draw("v", 400, 1)
    alone = Predictions(p.image_id, p.patient_id, np.array([""] * 400, object), CLASSES, p.y_true,
                        p.y_prob)  # fmt: skip
    ill = np.flatnonzero(p.y_true == 0)
    well = np.flatnonzero(p.y_true == 1)
    write_predictions(valid, alone.take(np.concatenate([ill[:100], well])))
    whole = evaluate(test, calib=valid, calibration="platt", **FAST)
    assert whole["operating_points"][0]["chosen"]["positive_groups"] == 100
    half = evaluate(test, calib=valid, calibration="isotonic", **FAST)
    assert half["operating_points"] == []
    (refusal,) = [n for n in half["notes"] if "needs 59" in n]
    assert "50 positive groups" in refusal
    assert "the other half fits the isotonic map; --calibration temperature or platt" in refusal
    with pytest.raises(BadInput, match=r"needs 59.*only half of the groups of --calib"):
        evaluate(test, calib=valid, calibration="isotonic", policy="sensitivity_bound", **FAST)
    write_predictions(valid, alone.take(np.concatenate([ill[:10], well])))
    found = evaluate(test, calib=valid, calibration="dirichlet", **FAST)["conformal"]
    assert "'mel' has 5 groups" in found["refused"]
    assert "--calibration temperature or platt" in found["refused"]
    with pytest.raises(BadInput, match=r"needs 9.*only half of the groups of --calib"):
        evaluate(test, calib=valid, calibration="dirichlet", sets="lac", **FAST)
    write_predictions(valid, alone.take(np.concatenate([ill[:1], well])))
    with pytest.raises(BadInput, match=r"--calibration: isotonic needs class 'mel' in both halves"):
        evaluate(test, calib=valid, calibration="isotonic", **FAST)


def test_what_a_run_says_of_its_temperature_stands_in_the_notes_and_the_report(runs: Path) -> None:
    said = "the labels of 30 rows do not determine the temperature: alone they give 0.05"
    path = runs / "s0" / "calibration.json"
    files.write_json(path, files.read_json(path) | {"notes": [said]})
    result = evaluate(runs / "s0", **FAST)
    assert said in result["notes"]
    assert said in Path(result["report"]).read_text(encoding="utf-8")
    assert said not in evaluate(runs / "s1", **FAST)["notes"]  # written by 0.1.0: no notes


def test_a_table_whose_labels_are_all_right_is_told_about(tables: tuple[Path, Path]) -> None:
    test, valid = tables
    p = draw("v", 30, 1, 8.0)
    sure = p.y_prob[np.arange(30), p.y_true] > 0.5
    write_predictions(valid, p.take(np.flatnonzero(sure)))
    before = evaluate(test, calib=valid, **FAST)["metrics"]["nll"]["value"]
    result = evaluate(test, calib=valid, calibration="temperature", **FAST)
    assert any(
        "do not determine the temperature: alone they give 0.05" in n for n in result["notes"]
    )
    assert result["metrics"]["nll"]["value"] < before + 0.1  # 2.4 at 0.05


def test_what_calibrates_shares_no_image_and_no_group(tables: tuple[Path, Path]) -> None:
    test, valid = tables
    with pytest.raises(BadInput, match="400 image"):
        evaluate(test, calib=test, **FAST)
    sibling = draw("x", 10, 5)
    sibling.lesion_id[3] = "Le7"
    write_predictions(valid, sibling)
    with pytest.raises(BadInput, match=r"1 group\(s\) are in both tables, .*lesion:Le7"):
        evaluate(test, calib=valid, **FAST)
    valid.write_text(test.read_text().replace("nv", "bkl"))
    with pytest.raises(BadInput, match="its classes are mel, bkl"):
        evaluate(test, calib=valid, **FAST)


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_sets_of_a_table(tables: tuple[Path, Path], method: str) -> None:
    test, valid = tables
    result = evaluate(test, calib=valid, sets=method, alpha=0.2, **FAST)
    found = result["conformal"]
    assert (found["rule"]["method"], found["target"]) == (method, 0.8)
    for name in CLASSES:
        coverage = found["classes"][name]["coverage"]
        assert coverage["low"] < coverage["value"] <= coverage["high"]
        assert coverage["high"] > 0.8
    text = Path(result["report"]).read_text(encoding="utf-8")
    assert "prediction set" in text
    assert f"({method.upper()})" in text


def test_sets_are_not_measured_where_they_were_calibrated(
    tables: tuple[Path, Path], runs: Path
) -> None:
    for source in (tables[1], runs / "s0"):
        with pytest.raises(BadInput, match="cannot be evaluated on the data"):
            evaluate(source, split="valid", sets="lac", **FAST)
        assert evaluate(source, split="valid", **FAST)["conformal"] is None


def test_too_few_lesions_of_a_class_have_no_sets(tables: tuple[Path, Path]) -> None:
    test, valid = tables
    p = draw("v", 400, 1)
    rows = np.concatenate([np.flatnonzero(p.y_true == 0)[:8], np.flatnonzero(p.y_true == 1)])
    write_predictions(valid, p.take(rows))
    result = evaluate(test, calib=valid, **FAST)
    assert "groups" in result["conformal"]["refused"]
    assert "No prediction sets" in Path(result["report"]).read_text(encoding="utf-8")
    with pytest.raises(BadInput, match="mel"):
        evaluate(test, calib=valid, sets="lac", **FAST)
    wide = evaluate(test, calib=valid, sets="lac", rare="include", **FAST)["conformal"]
    assert wide["classes"]["mel"]["coverage"]["value"] == 1.0
    assert "it is in every set" in wide["rule"]["warnings"][0]
    assert evaluate(test, calib=valid, sets="none", **FAST)["conformal"] is None


def test_a_run_calibrates_its_sets_on_validation_or_its_calibration_part(runs: Path) -> None:
    run = runs / "s0"
    test = evaluate(run, split="test", **FAST)
    assert test["conformal"]["calibrated_on"] == "valid"
    metrics = json.loads((run / "metrics-test.json").read_text())
    assert metrics["conformal"] == test["conformal"]
    other = evaluate(runs / "s1", calib="calib", **FAST)
    assert other["operating_points"][0]["chosen"]["chosen_on"] == "calib"
    assert other["conformal"]["calibrated_on"] == "calib"
    stored = json.loads((runs / "s1" / "operating_points.json").read_text())["points"]
    assert stored[0]["chosen_on"] == "calib"


def test_a_run_refuses_foreign_choices(runs: Path, tables: tuple[Path, Path], data: Path) -> None:
    run = runs / "s0"
    with pytest.raises(BadInput, match="its own data set"):
        evaluate(run, calib=tables[1], **FAST)
    with pytest.raises(BadInput, match="stored temperature"):
        evaluate(run, calibration="platt", **FAST)
    with pytest.raises(BadInput, match="not on 'test'"):
        evaluate(run, split="test", calib="calib", **FAST)
    with pytest.raises(BadInput, match="nothing may be chosen"):
        evaluate(run / "predictions-test.csv", split="valid", **FAST)
    with pytest.raises(BadInput, match="nothing may be chosen"):
        evaluate(tables[0], calib=run / "predictions-test.csv", **FAST)
    assert ledger.openings(data) == []


def test_repeats_give_mean_spread_and_every_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate(runs, **FAST)
    assert list(result["runs"]) == ["s0", "s1", "s2"]
    assert result["varied"] == {"seed": [0, 1, 2]}
    auc = result["metrics"]["roc_auc"]
    each = [m["roc_auc"]["value"] for m in result["each"].values()]
    assert list(auc["runs"].values()) == each
    assert evaluate(runs / "s1", **FAST)["metrics"] == result["each"]["s1"]
    assert auc["mean"] == pytest.approx(np.mean(each))
    assert auc["sd"] == pytest.approx(np.std(each, ddof=1))
    assert set(result["at_points"]) == {"sensitivity", "specificity"}
    assert json.loads((runs / "repeats-valid.json").read_text())["metrics"]["roc_auc"] == auc
    assert (runs / "s2" / "report.html").is_file()
    two = [str(runs / "s0"), str(runs / "s2")]
    assert run_cli(["evaluate", *two, "--resamples", "100", "--no-images"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs, valid" in shown
    assert "The runs differ in: seed" in shown


def test_repeats_of_test_open_it_once_a_run(runs: Path, data: Path) -> None:
    evaluate(runs, split="test", **FAST)
    assert [e["run"] for e in ledger.openings(data)] == ["s0", "s1", "s2"]


def test_what_is_no_repeat_is_refused(runs: Path, tables: tuple[Path, Path]) -> None:
    with pytest.raises(BadInput, match="not a run folder"):
        evaluate([runs / "s0", tables[0]], **FAST)
    with pytest.raises(BadInput, match="given twice"):
        evaluate([runs / "s0", runs / "s0"], **FAST)
    with pytest.raises(BadInput, match="cannot be used with repeats"):
        evaluate(runs, on=runs, **FAST)
    path = runs / "s1" / "config.json"
    path.write_text(path.read_text().replace('"nv"', '"bkl"'))
    with pytest.raises(BadInput, match=r"s1.*mel, bkl"):
        evaluate(runs, **FAST)
    shutil.rmtree(runs / "s1")
    shutil.rmtree(runs / "s2")
    assert "metrics" in evaluate(runs, **FAST)


def test_the_unit_of_a_threshold_is_that_of_the_table_but_a_run_decides_by_image(
    tables: tuple[Path, Path], runs: Path, tmp_path: Path
) -> None:
    p = draw("v", 400, 1)
    pairs = p.y_true.copy()
    pairs[1::2] = pairs[::2]  # the images of a lesion carry one label
    for name, prefix, seed in (("valid", "v", 1), ("test", "e", 2)):
        q = draw(prefix, 400, seed)
        write_predictions(tmp_path / f"{name}.csv", Predictions(
            q.image_id, q.patient_id, q.lesion_id, CLASSES, pairs, q.y_prob))  # fmt: skip
    found = {
        unit: evaluate(tables[0], calib=tables[1], unit=unit, policy="youden", **FAST)
        for unit in ("image", "lesion")
    }
    points = {unit: f["operating_points"][0] for unit, f in found.items()}
    assert points["image"]["chosen"]["sensitivity"]["n"] == int((pairs == 0).sum())
    assert points["lesion"]["chosen"]["sensitivity"]["n"] == int((pairs[::2] == 0).sum())
    write_predictions(
        runs / "s0" / "predictions-valid.csv", draw("v", 400, 10).take(np.arange(0, 400, 2))
    )
    by_image = evaluate(runs / "s0", **FAST)["operating_points"][0]["threshold"]
    by_lesion = evaluate(runs / "s0", unit="lesion", **FAST)
    assert by_lesion["operating_points"][0]["threshold"] == by_image
    assert any("chosen on single images" in n for n in by_lesion["notes"])
