"""`calibration.json`: how a run's logits become probabilities. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files
from lesionlab.array_types import Floats, Ints
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.calibration import fit_temperature, log_prior_ratio, probabilities
from lesionlab.evaluation.predictions import Predictions
from lesionlab.run_folder import CALIBRATION, Run, refuse_unfinished


@dataclass(frozen=True)
class RunCalibration:
    """The temperature and the priors by which a run's probabilities hold at `prior`."""

    temperature: float
    prior: Floats  # (K,) of the training split
    train_prior: Floats  # (K,) implied by the training
    fitted_on: str
    n: int
    groups: int
    notes: tuple[str, ...] = ()  # where the labels do not determine the temperature

    def apply(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, K) float32 probabilities."""
        result: npt.NDArray[np.float32] = probabilities(
            logits, self.temperature, self.prior, self.train_prior
        )
        return result

    @property
    def log_prior_ratio(self) -> Floats:
        """(K,) log prior - log train_prior: what is added to the scaled logits."""
        return log_prior_ratio(self.prior, self.train_prior)


def fit_calibration(
    logits: npt.NDArray[np.float32], y: Ints, prior: Floats, train_prior: Floats, groups: int
) -> RunCalibration:
    """Fit the temperature on validation: logits (N, K), y (N,) of `groups` groups."""
    offset = log_prior_ratio(prior, train_prior)
    fitted = fit_temperature(logits.astype(np.float64), y, offset)
    return RunCalibration(
        fitted.temperature, prior, train_prior, "valid", len(y), groups, fitted.notes
    )


def write_calibration(folder: Path, classes: tuple[str, ...], fitted: RunCalibration) -> None:
    """Write `calibration.json`."""
    content: dict[str, Any] = {
        "schema_version": 1,
        "temperature": fitted.temperature,
        "prior": dict(zip(classes, fitted.prior.tolist(), strict=True)),
        "train_prior": dict(zip(classes, fitted.train_prior.tolist(), strict=True)),
        "fitted_on": fitted.fitted_on,
        "n": fitted.n,
        "groups": fitted.groups,
        "notes": list(fitted.notes),
    }
    files.write_json(folder / CALIBRATION, content)


def read_calibration(run: Run) -> RunCalibration:
    """The calibration of a finished run; `BadInput` for an unfinished one."""
    refuse_unfinished(run)
    raw = files.read_json(run.folder / CALIBRATION)
    classes = run.config.dataset.classes
    return RunCalibration(
        float(raw["temperature"]),
        np.array([raw["prior"][c] for c in classes], np.float64),
        np.array([raw["train_prior"][c] for c in classes], np.float64),
        str(raw["fitted_on"]),
        int(raw["n"]),
        int(raw["groups"]),
        tuple(raw.get("notes", ())),  # 0.1.0 wrote none
    )


def predictions_of(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    calibration: RunCalibration,
) -> Predictions:
    """The predictions artefact of the given rows of `dataset.table`, from logits (len(rows), K)."""
    table = dataset.table.iloc[rows]
    ids = [table[c].to_numpy(dtype=object) for c in ("image_id", "patient_id", "lesion_id")]
    y_prob = calibration.apply(logits).astype(np.float64)
    return Predictions(
        ids[0],
        ids[1],
        ids[2],
        dataset.info.classes,
        dataset.label_indices(table),
        y_prob / y_prob.sum(1, keepdims=True),
        logits.astype(np.float64),
    )
