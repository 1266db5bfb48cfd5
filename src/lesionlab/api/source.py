"""What several verbs take: the predictions of a run folder, or of a CSV from anybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab import files
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Floats, Predictions, read_predictions
from lesionlab.run import CALIBRATION, read_run

PARTS = ("valid", "test", "train", "calib")


@dataclass(frozen=True)
class Source:
    """Predictions and what is known of them; `prior (K,)` is None where it is not."""

    name: str
    predictions: Predictions
    malignant: tuple[str, ...] = ()
    prior: Floats | None = None
    part: str | None = None
    leaky: bool = False
    synthetic: bool = False


def open_source(path: Path, split: str = "valid") -> Source:
    """The stored predictions of a run's part, or a predictions CSV.

    Raises `BadInput` where the run has none of that part: it opens no sealed test set.
    """
    if path.is_dir():
        return _of_run(path, split)
    return Source(path.stem, read_any(path)[0])


def _of_run(folder: Path, split: str) -> Source:
    if split not in PARTS:
        raise BadInput(f"no split '{split}'", where="--split", remedy=nearest(split, PARTS))
    run = read_run(folder)
    table = run.predictions_path(split)
    if not table.is_file():
        raise BadInput(
            f"has no predictions of '{split}'",
            where=str(folder),
            remedy=f"make them: lesionlab evaluate {folder} --split {split}",
        )
    data, predictions = run.config.dataset, read_predictions(table)
    prior = None
    if (folder / CALIBRATION).is_file():
        stored = files.read_json(folder / CALIBRATION)["prior"]
        prior = np.array([stored[c] for c in predictions.classes], np.float64)
    return Source(
        folder.resolve().name,
        predictions,
        data.malignant,
        prior,
        split,
        data.leaky,
        data.synthetic,
    )
