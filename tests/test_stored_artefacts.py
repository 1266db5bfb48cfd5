"""What 0.1.0 wrote still opens, and says the same: `tests/stored/` holds a small set of each kind.

Made by commit 5ec22ff from 27 drawn images of 12 lesions, with the smallest network there is:

    lesionlab import synthetic --to data --lesions 12 --seed 0
    lesionlab split data --test 0.2 --valid 0.25 --seed 0
    lesionlab train data --preset tiny.toml --out run --threads 1    # melanoma_baseline, one epoch
    lesionlab evaluate run
    lesionlab export run --to bundle
    lesionlab predict bundle data/images --csv answers.csv
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lesionlab import files
from lesionlab.api.evaluate import evaluate
from lesionlab.api.export import export
from lesionlab.api.predict import predict
from lesionlab.api.verify import verify
from lesionlab.data.manifest import read_dataset
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.run_folder import read_run

STORED = Path(__file__).parent / "stored"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    for name in ("dataset-and-run-0.1.0.zip", "bundle-0.1.0.zip"):
        with zipfile.ZipFile(STORED / name) as archive:
            archive.extractall(folder)
    return folder


def test_the_data_set_opens(old: Path) -> None:
    dataset = read_dataset(old / "data")
    assert len(dataset.table) == 27
    assert dataset.info.classes == ("benign", "malignant")
    assert dataset.table["split"].value_counts().to_dict() == {"train": 10, "test": 9, "valid": 8}


@pytest.mark.slow
def test_the_run_gives_its_predictions_and_metrics(old: Path, tmp_path: Path) -> None:
    from lesionlab.training.inference import predict_split

    stored = read_predictions(old / "run" / "predictions-valid.csv")
    again = predict_split(old / "run", "valid", dataset_folder=old / "data")
    np.testing.assert_array_equal(again.image_id, stored.image_id)
    np.testing.assert_allclose(again.y_prob, stored.y_prob, atol=1e-5)
    before = files.read_json(old / "run" / "metrics-valid.json")["metrics"]
    now = evaluate(old / "run", data=old / "data", out=tmp_path, images=False)["metrics"]
    for name, measure in before.items():
        assert now[name]["value"] == pytest.approx(measure["value"], nan_ok=True), name
        assert now[name]["low"] == pytest.approx(measure["low"]), name


@pytest.mark.slow
def test_the_run_exports(old: Path, tmp_path: Path) -> None:
    """Its settings are complete: what 0.1.0 did not know has the value that it then had."""
    assert read_run(old / "run").config.settings.shown.interpolation == "bilinear"
    told = export(old / "run", tmp_path / "bundle", data=old / "data")
    assert told["no_operating_point"]  # 2 positive groups; 0.1.0 took another policy in silence


def test_the_bundle_answers_as_it_did(old: Path) -> None:
    verify(old / "bundle")  # raises where a file has changed
    with (old / "answers.csv").open(encoding="utf-8", newline="") as stream:
        stored = {row["image_id"]: row for row in csv.DictReader(stream)}
    said = predict(old / "bundle", old / "data" / "images")["predictions"]
    assert {one["image_id"] for one in said} == set(stored)
    for one in said:
        row = stored[one["image_id"]]
        for name, value in one["probabilities"].items():
            assert value == pytest.approx(float(row[f"prob_{name}"]), abs=1e-5)
        assert one["class_at_uniform_prior"] == row["class_at_uniform_prior"]
        assert one["decision"]["operating_point"] == row["operating_point"] == "sensitivity 0.95"
