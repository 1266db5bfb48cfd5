"""`calibration.json` says how sure its temperature is, and that of 0.1.0 is read as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lesionlab import files
from lesionlab.config import Settings, Stage
from lesionlab.run_folder import DatasetReference, RunConfig, read_run, write_config
from lesionlab.training.run_calibration import fit_calibration, read_calibration, write_calibration

CLASSES = ("mel", "nv")
HALF = np.array([0.5, 0.5])
RIGHT = np.array([[9.0, 0.0], [0.0, 9.0]] * 5, np.float32), np.array([0, 1] * 5)


def write_run(folder: Path) -> Path:
    reference = DatasetReference(
        folder="data", name="set", source="test", classes=CLASSES, malignant=("mel",),
        fingerprint="f" * 64, images={"valid": 10},
    )  # fmt: skip
    folder.mkdir()
    settings = Settings(stages=(Stage(name="head", epochs=1),))
    write_config(folder, RunConfig(settings=settings, dataset=reference))
    (folder / "predictions-valid.csv").touch()  # with the calibration it makes a run finished
    return folder


def test_labels_that_are_all_right_are_said_and_read_back(tmp_path: Path) -> None:
    fitted = fit_calibration(*RIGHT, HALF, HALF, groups=10)
    assert abs(fitted.temperature - 1) < 0.01
    assert "labels of 10 rows do not determine the temperature" in fitted.notes[0]
    folder = write_run(tmp_path / "run")
    write_calibration(folder, CLASSES, fitted)
    again = read_calibration(read_run(folder))
    assert (again.temperature, again.notes) == (fitted.temperature, fitted.notes)


def test_a_stored_temperature_is_read_as_it_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    fitted = fit_calibration(*RIGHT, HALF, HALF, groups=10)
    write_calibration(folder, CLASSES, replace(fitted, temperature=0.05))
    path = folder / "calibration.json"
    stored = files.read_json(path)
    files.write_json(path, {k: v for k, v in stored.items() if k != "notes"})  # as 0.1.0 wrote it
    found = read_calibration(read_run(folder))
    assert (found.temperature, found.notes) == (0.05, ())
