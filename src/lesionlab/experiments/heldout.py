"""What a trained run says of any rows of its data set, plain or averaged over fixed views."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from lesionlab.config import Settings
from lesionlab.data.augment import augment, fixed_views
from lesionlab.data.cache import Pixels, open_pixels
from lesionlab.data.facts import encode
from lesionlab.data.feature_store import ROOT, can_hold, row_ids
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.predictions import Floats, Predictions
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress
from lesionlab.run import Run
from lesionlab.training.features import BATCH, Frozen, frozen_features
from lesionlab.training.machine import Machine, choose_machine
from lesionlab.training.predict import load_network, predictions_of, read_calibration
from lesionlab.training.setup import preprocessing

VIEWS = 8  # flips and quarter turns
Rows = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


def in_order(dataset: Dataset) -> Dataset:
    """The data set with its rows in the order of `image_id`, as every cache knows them."""
    table = dataset.table.sort_values("image_id", kind="stable").reset_index(drop=True)
    return Dataset(dataset.folder, table, dataset.info)


def is_frozen(settings: Settings) -> bool:
    """Whether no stage ever moves the body, so that stored features hold for the trained run."""
    return all(s.trainable == "head" and s.cached_views > 0 for s in settings.stages)


def run_logits(
    run: Run,
    dataset: Dataset,
    rows: Rows,
    *,
    views: int = 1,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Float32:
    """(views, len(rows), K) float32 logits of the run's best network.

    `dataset` must be `in_order`. View 0 is the plain image, the others the flips and quarter
    turns of `fixed_views`. The features of a body that never moved come from the data set's
    store, so that folds, seeds and views of a frozen network cost next to nothing.
    """
    how, machine = preprocessing(run.config.settings), machine or choose_machine()
    network = load_network(run).to(machine.device)
    coding = run.config.facts
    facts = None if coding is None else encode(dataset.table, coding)
    pixels = cache(lambda: open_pixels(dataset, how, progress=progress))
    if is_frozen(run.config.settings) and can_hold(dataset.folder / "cache"):
        frozen = Frozen(
            network,
            run.config.settings.model.name,
            how,
            machine,
            pixels,
            row_ids(dataset.table),
            dataset.folder / "cache" / ROOT,
        )
        return _from_features(frozen, facts, rows, views, progress)
    title = f"predicting with {run.folder.name}"
    made = [
        _view_logits(network, pixels(), facts, rows, how, machine, view, title, progress)
        for view in range(views)
    ]
    return np.stack(made)


@torch.inference_mode()
def _from_features(
    frozen: Frozen, facts: Float32 | None, rows: Rows, views: int, progress: Progress
) -> Float32:
    device = frozen.machine.device
    features = frozen_features(frozen, rows, views, progress)
    known = None if facts is None else torch.from_numpy(facts[rows]).to(device)
    made = []
    for view in features.views:
        embedded = torch.from_numpy(view.take(np.arange(len(rows)))).to(device)
        made.append(frozen.network.classify(embedded, known).float().cpu().numpy())
    return np.stack(made)


@torch.inference_mode()
def _view_logits(
    network: Classifier,
    pixels: Pixels,
    facts: Float32 | None,
    rows: Rows,
    how: Preprocessing,
    machine: Machine,
    view: int,
    title: str,
    progress: Progress,
) -> Float32:
    network.eval()
    draws = fixed_views(VIEWS)[view : view + 1]
    starts, parts = range(0, len(rows), BATCH), []
    for i in progress(starts, f"{title}, view {view + 1}", len(starts)):
        chunk = rows[i : i + BATCH]
        images = torch.from_numpy(pixels.take(chunk)).to(machine.device)
        shown = augment(images, np.repeat(draws, len(chunk), 0), how)
        known = None if facts is None else torch.from_numpy(facts[chunk]).to(machine.device)
        parts.append(network(shown, known).float().cpu().numpy())
    return np.concatenate(parts)


def run_probabilities(
    run: Run,
    dataset: Dataset,
    rows: Rows,
    *,
    views: int = 1,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Floats:
    """(len(rows), K) calibrated probabilities; of several views their mean."""
    calibration = read_calibration(run)
    logits = run_logits(run, dataset, rows, views=views, machine=machine, progress=progress)
    y_prob = np.mean([calibration.apply(z).astype(np.float64) for z in logits], axis=0)
    return np.asarray(y_prob / y_prob.sum(1, keepdims=True))


def run_predictions(
    run: Run,
    dataset: Dataset,
    rows: Rows,
    *,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Predictions:
    """The predictions artefact of these rows, of the plain images."""
    logits = run_logits(run, dataset, rows, machine=machine, progress=progress)[0]
    return predictions_of(dataset, rows, logits, read_calibration(run))


def part_rows(dataset: Dataset, split: str) -> Rows:
    """Row numbers of a part, `BadInput` where it is empty."""
    dataset.part(split)
    return np.flatnonzero(dataset.table["split"] == split)
