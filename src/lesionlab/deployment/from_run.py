"""What a bundle takes from a finished run: data, network, calibration and metrics. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.array_types import Floats
from lesionlab.data.cache import open_pixels
from lesionlab.data.manifest import Dataset
from lesionlab.deployment.clinical_inputs import UNKNOWN, encode_clinical
from lesionlab.deployment.export import to_onnx, torch_logits
from lesionlab.deployment.publish import ExportData, Network, Recipe
from lesionlab.deployment.schema import Training
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.evaluation.predictions import Predictions, read_predictions
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import Run, refuse_unfinished
from lesionlab.training.inference import load_network, unchanged_data
from lesionlab.training.run_calibration import RunCalibration, read_calibration
from lesionlab.training.setup import preprocessing


@dataclass(frozen=True)
class FinishedRun:
    """A run with its data (unchanged, in the order of `image_id`), calibration and predictions."""

    run: Run
    dataset: Dataset
    calibration: RunCalibration
    predictions: Predictions  # of validation, as the run stored them

    def by_class(self, values: Floats) -> dict[str, float]:
        """(K,) numbers by name of the class."""
        return {c: float(v) for c, v in zip(self.dataset.info.classes, values, strict=True)}


def open_finished(run: Run, data: Path | None = None) -> FinishedRun:
    """Read what an export needs; `data` is the dataset folder where it has moved.

    Raises `BadInput` where the run is not finished or its data are gone or have changed.
    """
    dataset, calibration = unchanged_data(run, data), read_calibration(run)
    refuse_unfinished(run)
    return FinishedRun(run, dataset, calibration, read_predictions(run.predictions_path("valid")))


def recipe_of(source: FinishedRun, points: Sequence[OperatingPoint], withheld: str = "") -> Recipe:
    """The bundle's description of the model, with its operating points, or why there is none."""
    run, info, calibration = source.run, source.dataset.info, source.calibration
    return Recipe(
        name=run.folder.resolve().name,
        settings=run.config.settings.shown,
        classes=info.classes,
        malignant=info.malignant,
        temperature=calibration.temperature,
        prior=source.by_class(calibration.prior),
        train_prior=source.by_class(calibration.train_prior),
        training=_training(run, source.dataset),
        operating_points=tuple(points),
        no_operating_point=withheld,
        calibration_notes=calibration.notes,
        facts=run.config.facts,
        leaky=info.leaky,
        leak_reason=info.leak_reason,
        synthetic=info.synthetic,
    )


def export_data(source: FinishedRun, progress: Progress = SILENT) -> ExportData:
    """The images that the bundle is measured on, and the run's own probabilities of them."""
    how = preprocessing(source.run.config.settings)
    pixels = open_pixels(source.dataset, how, progress=progress)
    reference = dict(zip(source.predictions.image_id, source.predictions.y_prob, strict=True))
    return ExportData(source.dataset, pixels, reference)


def network_of(run: Run) -> Network:
    """The run's best network as ONNX, and the original that it must agree with."""
    facts = run.config.facts
    width = 0 if facts is None else encode_clinical([UNKNOWN], facts).shape[1]
    model = load_network(run)
    exported = to_onnx(model, preprocessing(run.config.settings), width)
    original = partial(torch_logits, model)
    return Network(exported.data, exported.outputs, exported.width, original, exported.cam_offset)


def stored_metrics(run: Run) -> dict[str, Any]:
    """What `evaluate` has measured of test and validation, by split, for the model card."""
    paths = {split: run.metrics_path(split) for split in ("test", "valid")}
    return {split: files.read_json(path) for split, path in paths.items() if path.is_file()}


def _training(run: Run, dataset: Dataset) -> Training:
    settings, table = run.config.settings, dataset.table
    trained = table[table["split"] == "train"]
    counts = trained["label"].value_counts()
    return Training(
        dataset=dataset.info.name,
        source=dataset.info.source,
        licence=dataset.info.licence,
        modality=dataset.info.modality,
        images=run.config.dataset.images,
        classes={c: int(counts.get(c, 0)) for c in dataset.info.classes},
        depth=dataset.info.depth,
        regions=bool(trained["roi_size"].notna().all()),
        model=settings.model.name,
        preset=settings.name,
        seed=settings.seed,
        fingerprint=run.config.dataset.fingerprint,
        weights=run.config.weights,
    )
