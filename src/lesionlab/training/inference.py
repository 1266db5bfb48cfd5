"""The one way in which a run, or an ensemble that is one network, predicts rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch

from lesionlab.array_types import Float32, Floats, Rows
from lesionlab.config import Settings
from lesionlab.data.cache import Pixels, open_pixels
from lesionlab.data.clinical_metadata import encode, unknown_case
from lesionlab.data.feature_store import ROOT, can_hold, row_ids
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.models.classifier import Classifier, build
from lesionlab.models.mean import Member
from lesionlab.models.tensor_files import read_tensors
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import BEST, Run, RunConfig, read_run
from lesionlab.training.device import Machine, choose_machine
from lesionlab.training.features import Frozen, NetworkInput, frozen_features, image_logits
from lesionlab.training.members import is_ensemble, mean_network
from lesionlab.training.run_calibration import RunCalibration, predictions_of, read_calibration
from lesionlab.training.setup import preprocessing, refuse_changed_data

VIEWS = 8  # flips and quarter turns of `augment.fixed_views`


@dataclass(frozen=True)
class LoadedRun:
    """A finished run's network, ready to predict rows of `dataset.table`.

    The features of a frozen backbone come from the data set's store only where `dataset` is in
    the order of `image_id`, as training stored them.
    """

    run: Run
    dataset: Dataset
    network: Classifier  # best weights, eval mode, float32, on the machine's device
    machine: Machine
    progress: Progress = SILENT

    @property
    def how(self) -> Preprocessing:
        """How an image becomes the network's input."""
        return preprocessing(self.run.config.settings)

    @cached_property
    def calibration(self) -> RunCalibration:
        """How its logits become probabilities."""
        return read_calibration(self.run)

    @cached_property
    def facts(self) -> Float32 | None:
        """(len(table), F) coded age, sex and site; None where the network reads images alone."""
        coding = self.run.config.facts
        return None if coding is None else encode(self.dataset.table, coding)

    @cached_property
    def pixels(self) -> Pixels:
        """Of all rows; opened, and decoded where no cache holds them, when first asked for."""
        return open_pixels(self.dataset, self.how, progress=self.progress)

    @property
    def input(self) -> NetworkInput:
        """What the network reads of every row."""
        return NetworkInput(self.pixels, self.how, self.facts)

    def logits(self, rows: Rows, title: str = "predicting", view: int = 0) -> Float32:
        """(len(rows), K) float32 logits of the images, computed from the pixels.

        View 0 is the plain image, the others are the flips and quarter turns of `fixed_views`.
        """
        return image_logits(
            self.network, self.input, rows, self.machine, self.progress, title, view
        )

    def view_logits(self, rows: Rows, views: int = 1) -> Float32:
        """(views, len(rows), K) float32 logits, of a frozen backbone from the feature store.

        So folds, seeds and views of a frozen network cost next to nothing.
        """
        frozen = self._frozen()
        if frozen is not None:
            return self._from_features(frozen, rows, views)
        title = f"predicting with {self.run.folder.name}"
        titles = [f"{title}, view {view + 1}" for view in range(views)]
        return np.stack([self.logits(rows, t, view) for view, t in enumerate(titles)])

    def probabilities(self, rows: Rows, views: int = 1) -> Floats:
        """(len(rows), K) calibrated probabilities; of several views their mean."""
        each = [self.calibration.apply(z).astype(np.float64) for z in self.view_logits(rows, views)]
        y_prob = np.mean(each, axis=0)
        return np.asarray(y_prob / y_prob.sum(1, keepdims=True))

    def predictions(self, rows: Rows, logits: Float32 | None = None) -> Predictions:
        """The predictions artefact of these rows; `logits` default to `view_logits` of one view."""
        if logits is None:
            logits = self.view_logits(rows)[0]
        return predictions_of(self.dataset, rows, logits, self.calibration)

    def _frozen(self) -> Frozen | None:
        """What names the backbone's features in the store; None where training has none there."""
        cache, settings = self.dataset.folder / "cache", self.run.config.settings
        if is_ensemble(self.run.folder) or not _is_frozen(settings) or not can_hold(cache):
            return None
        ids = row_ids(self.dataset.table)
        return Frozen(
            network=self.network,
            architecture=settings.model.name,
            how=self.how,
            machine=self.machine,
            pixels=lambda: self.pixels,
            ids=ids,
            root=cache / ROOT,
        )

    @torch.inference_mode()
    def _from_features(self, frozen: Frozen, rows: Rows, views: int) -> Float32:
        device = self.machine.device
        features = frozen_features(frozen, rows, views, self.progress)
        known = None if self.facts is None else torch.from_numpy(self.facts[rows]).to(device)
        logits = []
        for view in features.views:
            embedded = torch.from_numpy(view.take(np.arange(len(rows)))).to(device)
            logits.append(self.network.classify(embedded, known).float().cpu().numpy())
        return np.stack(logits)


def load_run(
    run: Run, dataset: Dataset, *, machine: Machine | None = None, progress: Progress = SILENT
) -> LoadedRun:
    """Load a finished run, or an ensemble that is one network, to predict rows of `dataset`.

    `machine` defaults to the best there is. Raises `BadInput` for weights that do not fit, and
    for an ensemble that cannot be one network.
    """
    machine = machine or choose_machine()
    machine.use_threads()
    return LoadedRun(run, dataset, load_network(run).to(machine.device), machine, progress)


def predict_split(
    folder: Path,
    split: str,
    *,
    dataset_folder: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Predictions:
    """Predictions of a finished run for one split of its data set, computed afresh in float32.

    Raises `BadInput` where the data set has changed since the run began, the run is not finished,
    or there is no such split.
    """
    run = read_run(folder)
    read_calibration(run)  # refuses an unfinished run before the work
    dataset = unchanged_data(run, dataset_folder)
    rows = dataset.rows_of(split)
    loaded = load_run(run, dataset, machine=machine, progress=progress)
    return loaded.predictions(rows, loaded.logits(rows, f"predicting {split}"))


def unchanged_data(run: Run, folder: Path | None = None) -> Dataset:
    """The run's data set in the order of `image_id`; `folder` says where it has moved.

    Raises `BadInput` where it is not there, or has changed since the run began.
    """
    place = folder or Path(run.config.dataset.folder)
    if folder is None and not place.is_dir():
        raise BadInput(
            "the dataset folder of the run was not found",
            where=str(place),
            remedy="give it with --data DIR",
        )
    dataset = read_dataset(place)
    refuse_changed_data(run.folder, run.config, dataset)
    return dataset.in_order()


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
    return Member(load_network(run), fitted.temperature, torch.from_numpy(fitted.log_prior_ratio))


def _is_frozen(settings: Settings) -> bool:
    """Whether no stage ever trains the backbone, so that stored features hold for the run."""
    return all(s.trainable == "head" and s.cached_views > 0 for s in settings.stages)
