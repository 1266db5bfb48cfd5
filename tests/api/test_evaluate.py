"""`lesionlab.evaluate` on tables from anybody and on runs: honest by construction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab import files
from lesionlab.api.evaluate import evaluate
from lesionlab.api.outside import comparable
from lesionlab.cli.main import run as run_cli
from lesionlab.config import Settings, Stage
from lesionlab.data import ledger
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo, write_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions
from lesionlab.run_folder import DatasetReference, RunConfig, read_run, write_config, write_history

CLASSES = ("mel", "bcc", "nv")
PRIOR = np.array([0.25, 0.2, 0.55])
FAST = {"resamples": 100}


def draw(prefix: str, n: int, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=PRIOR)
    z = rng.normal(0, 1, (n, 3)) + np.log(PRIOR)
    z[np.arange(n), truth] += 2
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"{prefix}{i}" for i in range(n)], object)
    lesions = np.array([f"L{prefix}{i}" for i in range(n)], object)
    return Predictions(ids, np.array([""] * n, object), lesions, CLASSES, truth, prob, z)


PARTS = {"train": draw("t", 40, 0), "valid": draw("v", 200, 1), "test": draw("e", 150, 2)}


def dataset(folder: Path, **info: Any) -> None:
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (64, 48), (200, 150, 130)).save(folder / "images" / "one.png")
    rows = [
        {"image_id": i, "lesion_id": lesion, "label": CLASSES[y], "split": part,
         "path": "images/one.png"}
        for part, p in PARTS.items()
        for i, lesion, y in zip(p.image_id, p.lesion_id, p.y_true, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS), fill_value="")
    table["sha256"] = [f"{i:064d}" for i in range(len(table))]
    about = DatasetInfo(name="set", source="test", classes=CLASSES, malignant=CLASSES[:2], **info)
    write_dataset(Dataset(folder, table, about))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dataset(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    """A finished run whose test predictions lie ready, as `predict_part` would leave them."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    reference = DatasetReference(
        folder=str(data), name="set", source="test", classes=CLASSES, malignant=CLASSES[:2],
        fingerprint="f" * 64, images={k: len(p) for k, p in PARTS.items()},
    )  # fmt: skip
    settings = Settings(stages=(Stage(name="head", epochs=2),))
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
    for part in ("valid", "test"):
        write_predictions(folder / f"predictions-{part}.csv", PARTS[part])
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_predictions(tmp_path / "mine.csv", PARTS["valid"])
    return tmp_path / "mine.csv"


def test_a_run_is_measured_on_validation_and_its_point_is_stored(run: Path, data: Path) -> None:
    result = evaluate(run, **FAST)
    assert (result["n"], result["unit"], result["part"]) == (200, "image", "valid")
    measure = result["metrics"]["balanced_accuracy_prior_corrected"]
    assert measure["low"] < measure["value"] < measure["high"]
    stored = json.loads((run / "operating_points.json").read_text())["points"]
    assert stored[0]["policy"] == "sensitivity_bound"
    assert stored[0]["chosen_on"] == "valid"
    assert result["operating_points"][0]["threshold"] == stored[0]["threshold"]
    assert Path(result["report"]).is_file()
    assert (run / "metrics-valid.json").is_file()
    assert ledger.openings(data) == []  # nothing was opened
    assert result["test_openings"] == 0


def test_opening_test_is_written_down_and_the_point_is_applied_unchanged(
    run: Path, data: Path
) -> None:
    before = evaluate(run, **FAST)["operating_points"][0]["threshold"]
    result = evaluate(run, split="test", **FAST)
    assert result["n"] == 150
    assert result["operating_points"][0]["threshold"] == before
    entry = ledger.openings(data)[0]
    assert ledger.has_seen_test(run, None)
    metrics = json.loads((run / "metrics-test.json").read_text())
    assert (entry["run"], entry["split"]) == ("a", "test")
    assert entry["result"] == ledger.digest(metrics)
    evaluate(run, split="test", **FAST)
    assert len(ledger.openings(data)) == 2
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "accessed 2 time(s), by 1 model(s)" in text
    assert "Do not choose a threshold here" in text


def test_no_number_of_test_is_shown_before_the_ledger_is_written(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise BadInput("disk full")

    monkeypatch.setattr(ledger, "append", refuse)
    with pytest.raises(BadInput, match="disk full"):
        evaluate(run, split="test", **FAST)
    assert not (run / "metrics-test.json").exists()
    assert not (run / "report.html").exists()


def test_without_its_dataset_folder_test_stays_sealed(run: Path, data: Path) -> None:
    data.rename(data.with_name("moved"))
    with pytest.raises(BadInput, match="--data DIR"):
        evaluate(run, split="test", **FAST)
    assert evaluate(run, split="test", data=data.with_name("moved"), **FAST)["n"] == 150
    assert evaluate(run, **FAST)["test_openings"] is None  # validation needs no data set


@pytest.mark.parametrize("choice", [{"policy": "youden"}, {"target": 0.9}, {"threshold": 0.3}])
def test_choosing_on_test_is_refused(run: Path, data: Path, choice: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="not on 'test'"):
        evaluate(run, split="test", **choice, **FAST)
    assert ledger.openings(data) == []


def test_the_point_may_change_until_test_was_opened(run: Path) -> None:
    first = evaluate(run, **FAST)["operating_points"][0]
    second = evaluate(run, policy="youden", **FAST)["operating_points"][0]
    assert second["chosen"]["policy"] == "youden"
    assert second["threshold"] != first["threshold"]
    evaluate(run, split="test", **FAST)
    with pytest.raises(BadInput, match="operating point is locked"):
        evaluate(run, policy="specificity", target=0.9, **FAST)
    assert evaluate(run, **FAST)["operating_points"][0]["chosen"]["policy"] == "youden"


def test_an_unfinished_run_and_no_run_are_refused(run: Path, tmp_path: Path) -> None:
    (run / "calibration.json").unlink()
    with pytest.raises(BadInput, match=r"not finished.*lesionlab resume"):
        evaluate(run, **FAST)
    with pytest.raises(BadInput, match="not a run folder"):
        evaluate(tmp_path, **FAST)
    with pytest.raises(BadInput, match="no split 'testt'"):
        evaluate(run, split="testt", **FAST)


def test_leaky_and_synthetic_data_are_said(run: Path, data: Path, tmp_path: Path) -> None:
    for path in (data / "dataset.json", data / "manifest.csv"):
        path.unlink()
    dataset(tmp_path / "bad", leaky=True, leak_reason="by image", synthetic=True)
    result = evaluate(run, data=tmp_path / "bad", **FAST)
    assert result["leaky"]
    assert result["synthetic"]
    text = (run / "report.html").read_text(encoding="utf-8")
    assert '<span class="badge danger">LEAKY</span>' in text
    assert "SYNTHETIC" in text


def test_a_table_from_anybody(table: Path) -> None:
    result = evaluate(table, malignant=("mel", "bcc"), **FAST)
    assert result["part"] == "predictions"
    assert result["operating_points"] == []  # nothing is chosen where the part is not known
    folder = Path(result["report"]).parent
    assert folder == table.with_name("mine-evaluation")
    assert sorted(p.name for p in folder.iterdir()) == [
        "metrics.json",
        "report.html",
        "report.json",
    ]
    again = evaluate(table, malignant=("mel", "bcc"), **FAST)
    assert again["metrics"] == result["metrics"]


def test_a_table_said_to_be_validation_may_choose(table: Path) -> None:
    result = evaluate(table, malignant=("mel", "bcc"), split="valid", policy="youden", **FAST)
    assert result["operating_points"][0]["chosen"]["chosen_on"] == "valid"
    with pytest.raises(BadInput, match="say --split valid"):
        evaluate(table, malignant=("mel", "bcc"), policy="youden", **FAST)
    fixed = evaluate(table, malignant=("mel", "bcc"), threshold=0.2, **FAST)
    assert fixed["operating_points"][0]["threshold"] == 0.2
    odd = table.with_name("odd.csv")
    odd.write_text(table.read_text().replace("nv", "something new"))
    with pytest.raises(BadInput, match="--malignant"):
        evaluate(odd, threshold=0.2, **FAST)


def test_truth_is_joined(tmp_path: Path) -> None:
    p = PARTS["valid"]
    blind = Predictions(p.image_id, p.patient_id, p.lesion_id, CLASSES, np.full(200, -1), p.y_prob)
    write_predictions(tmp_path / "blind.csv", blind)
    with pytest.raises(BadInput, match=r"no row has a label.*--truth"):
        evaluate(tmp_path / "blind.csv", **FAST)
    truth = pd.DataFrame({"image_id": p.image_id, "label": np.array(CLASSES, object)[p.y_true]})
    truth.sample(frac=1, random_state=0).to_csv(tmp_path / "truth.csv", index=False)
    result = evaluate(tmp_path / "blind.csv", truth=tmp_path / "truth.csv", **FAST)
    write_predictions(tmp_path / "seen.csv", p)
    assert result["metrics"] == evaluate(tmp_path / "seen.csv", **FAST)["metrics"]


def test_pictures_come_from_the_data_set_and_can_be_left_out(run: Path) -> None:
    evaluate(run, **FAST)
    assert "data:image/jpeg;base64," in (run / "report.html").read_text(encoding="utf-8")
    evaluate(run, images=False, lang="zh", **FAST)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in text
    assert "阈值探索" in text


@pytest.mark.parametrize("unit", ["lesion", "patient"])
def test_other_units(table: Path, unit: Any) -> None:
    if unit == "patient":
        with pytest.raises(BadInput, match="no row has a patient_id"):
            evaluate(table, malignant=("mel",), unit=unit, **FAST)
    else:
        assert evaluate(table, unit=unit, **FAST)["unit"] == "lesion"


def test_readers_votes_are_laid_beside_and_refused_on_training_images(
    run: Path, data: Path, tmp_path: Path
) -> None:
    p = PARTS["valid"]
    rng = np.random.default_rng(0)
    votes = pd.DataFrame(rng.integers(0, 5, (200, 3)) + 1, columns=list(CLASSES))
    votes.insert(0, "image_id", p.image_id)
    votes.to_csv(tmp_path / "study.csv", index=False)
    result = evaluate(run, readers=[tmp_path / "study.csv"], published=True, **FAST)
    assert result["readers"][0]["point"]["same_images"]
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "minus that of the pooled reader was" in text
    assert "157 dermatologists" in text
    write_predictions(run / "predictions-train.csv", PARTS["train"])
    with pytest.raises(BadInput, match="not used in training"):
        evaluate(run, split="train", readers=[tmp_path / "study.csv"], **FAST)
    with pytest.raises(BadInput, match="no such file"):
        evaluate(run, split="test", readers=[tmp_path / "none.csv"], **FAST)
    assert ledger.openings(data) == []  # a bad table does not cost an opening


def test_outside_images_are_mapped_and_siblings_left_out(run: Path, tmp_path: Path) -> None:
    """The rows that a run can be measured on, without its own images and unknown classes."""
    opened = read_run(run)
    inside = PARTS["train"].image_id
    rows = [
        ("new1", "melanoma", "a" * 64), ("new2", "nevus", "b" * 64), ("new3", "SCC", "c" * 64),
        (f"{inside[0]}.jpg", "nevus", "d" * 64), ("copy", "nevus", "e" * 64),
    ]  # fmt: skip
    snapshot = pd.DataFrame({"image_id": inside, "sha256": ["e" * 64] * len(inside)})
    snapshot.to_csv(run / "dataset.csv", index=False)
    table = pd.DataFrame(rows, columns=["image_id", "label", "sha256"])
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    info = DatasetInfo(name="other", source="x", classes=("melanoma", "nevus", "SCC"))
    kept, notes = comparable(Dataset(tmp_path, table, info), opened)
    assert kept.table["image_id"].tolist() == ["new1", "new2"]
    assert kept.table["label"].tolist() == ["mel", "nv"]
    assert kept.info.classes == CLASSES
    said = "; ".join(notes)
    assert "'SCC' (1 image) has no counterpart" in said
    assert "2 images are also in the data set of the run" in said
    with pytest.raises(BadInput, match="no image remains"):
        comparable(Dataset(tmp_path, table.iloc[3:], info), opened)


def test_outside_data_need_a_run_and_no_part(run: Path, table: Path, data: Path) -> None:
    with pytest.raises(BadInput, match="needs a run"):
        evaluate(table, on=data, **FAST)
    with pytest.raises(BadInput, match="whole data set"):
        evaluate(run, on=data, split="test", **FAST)


def test_subgroups_come_from_the_manifest(run: Path, data: Path) -> None:
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    table["sex"] = np.where(np.arange(len(table)) % 3, "female", "male")
    table.to_csv(data / "manifest.csv", index=False)
    result = evaluate(run, **FAST)
    assert [a["name"] for a in result["subgroups"]] == ["sex"]
    assert sum(v["n"] for v in result["subgroups"][0]["levels"]) == 200
    assert "By sex" in (run / "report.html").read_text(encoding="utf-8")


def test_a_tables_malignant_classes_by_the_taxonomy_are_said(table: Path, tmp_path: Path) -> None:
    result = evaluate(table, **FAST)
    assert result["malignant_v_benign"] is not None
    text = Path(result["report"]).read_text(encoding="utf-8")
    assert "malignant by the taxonomy: mel, bcc" in text
    text = table.read_text().replace("nv", "something new")
    (tmp_path / "odd.csv").write_text(text)
    assert evaluate(tmp_path / "odd.csv", **FAST)["malignant_v_benign"] is None  # no half guess


def test_too_few_positives_for_the_bound_are_said_in_the_report(run: Path) -> None:
    write_predictions(run / "predictions-valid.csv", PARTS["valid"].take(np.arange(60)))
    result = evaluate(run, **FAST)
    assert result["operating_points"] == []
    assert not (run / "operating_points.json").exists()
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "needs 59" in text
    assert evaluate(run, policy="sensitivity", **FAST)["operating_points"]


def test_the_command_prints_one_json_object(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(table), "--malignant", "mel, bcc", "--resamples", "100"]
    assert run_cli([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"n", "unit", "metrics", "report"} <= set(result)
    assert {"value", "low", "high"} <= set(result["metrics"]["roc_auc"])
    assert run_cli(arguments) == 0
    assert "majority_accuracy" in capsys.readouterr().out
    assert run_cli(["evaluate", str(table), "--lang", "xx"]) == 2
    assert "no language" in capsys.readouterr().err
    assert len(read_predictions(table)) == 200  # the input is as it was
