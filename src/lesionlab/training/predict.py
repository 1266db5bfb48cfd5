"""A run's network, and its predictions for a part of its data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from lesionlab import files
from lesionlab.data.cache import open_pixels
from lesionlab.data.facts import encode, unknown_case
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.calibration import fit_temperature, log_prior_ratio, probabilities
from lesionlab.evaluation.predictions import Floats, Ints, Predictions
from lesionlab.models.classifier import Classifier, build
from lesionlab.models.mean import Member
from lesionlab.models.tensor_files import read_tensors
from lesionlab.progress import SILENT, Progress
from lesionlab.run import BEST, CALIBRATION, Run, RunConfig, read_run
from lesionlab.training.features import image_logits
from lesionlab.training.machine import Machine, choose_machine
from lesionlab.training.members import is_ensemble, mean_network
from lesionlab.training.setup import preprocessing, refuse_changed_data


@dataclass(frozen=True)
class RunCalibration:
    """`calibration.json`: how logits become probabilities at the data set's prevalence."""

    temperature: float
    prior: Floats  # (K,) of the training part
    train_prior: Floats  # (K,) implied by the training
    fitted_on: str
    n: int
    groups: int

    def apply(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, K) float32 probabilities."""
        result: npt.NDArray[np.float32] = probabilities(
            logits, self.temperature, self.prior, self.train_prior
        )
        return result


def calibrate(
    logits: npt.NDArray[np.float32], y: Ints, prior: Floats, train_prior: Floats, groups: int
) -> RunCalibration:
    """Fit the temperature on validation."""
    offset = log_prior_ratio(prior, train_prior)
    temperature = fit_temperature(logits.astype(np.float64), y, offset)
    return RunCalibration(float(temperature), prior, train_prior, "valid", len(y), groups)


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
    }
    files.write_json(folder / CALIBRATION, content)


def read_calibration(run: Run) -> RunCalibration:
    """The calibration of a finished run."""
    path = run.folder / CALIBRATION
    if not path.is_file():
        raise BadInput(
            "the run is not finished", where=str(run.folder), remedy="run: lesionlab resume"
        )
    raw = files.read_json(path)
    classes = run.config.dataset.classes
    return RunCalibration(
        float(raw["temperature"]),
        np.array([raw["prior"][c] for c in classes]),
        np.array([raw["train_prior"][c] for c in classes]),
        str(raw["fitted_on"]),
        int(raw["n"]),
        int(raw["groups"]),
    )


def bare_network(config: RunConfig) -> Classifier:
    """The run's architecture with random weights."""
    settings = config.settings
    unknown = None if config.facts is None else unknown_case(config.facts)
    classes = len(config.dataset.classes)
    return build(settings.model, settings.shown, classes, unknown_facts=unknown)


def load_network(run: Run) -> Classifier:
    """The run's best weights, in eval mode, float32, on the CPU; of an ensemble its mean."""
    if is_ensemble(run.folder):
        return cast(Classifier, mean_network(run.folder, _member))  # has the same parts
    network = bare_network(run.config)
    tensors = read_tensors(run.folder / BEST)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"does not fit the run's network ({str(error).splitlines()[0]})",
            where=str(run.folder / BEST),
        ) from None
    return network.eval()


def _member(run: Run) -> Member:
    """A run as a member of an ensemble."""
    fitted = read_calibration(run)
    shift = torch.from_numpy(log_prior_ratio(fitted.prior, fitted.train_prior))
    return Member(load_network(run), fitted.temperature, shift)


def predictions_of(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    calibration: RunCalibration,
) -> Predictions:
    """The predictions artefact of the given rows of `dataset.table`."""
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


def predict_part(
    folder: Path,
    split: str,
    *,
    dataset_folder: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Predictions:
    """Predictions of a finished run for one part of its data set, computed afresh in float32.

    Raises `BadInput` where the data set has changed since the run began or the run is not
    finished.
    """
    run = read_run(folder)
    calibration = read_calibration(run)
    dataset = read_dataset(dataset_folder or Path(run.config.dataset.folder))
    refuse_changed_data(run.folder, run.config, dataset)
    dataset.part(split)  # refuses an unknown or empty part
    table = dataset.table.sort_values("image_id", kind="stable").reset_index(drop=True)
    dataset = Dataset(dataset.folder, table, dataset.info)
    rows = np.flatnonzero(table["split"] == split)
    how, machine = preprocessing(run.config.settings), machine or choose_machine()
    pixels = open_pixels(dataset, how, progress=progress)
    network = load_network(run).to(machine.device)
    facts = None if run.config.facts is None else encode(table, run.config.facts)
    title = f"predicting {split}"
    logits = image_logits(network, pixels, rows, how, machine, progress, title, facts=facts)
    return predictions_of(dataset, rows, logits, calibration)
