"""What all steps of `explain` share: network, pixels, masks, and the rows that are explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats, Ints, UInt8
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset
from lesionlab.data.masks import LesionMasks, masks_of
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.methods import ExplainedNetwork, chosen_methods
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import Run
from lesionlab.training.device import choose_machine
from lesionlab.training.inference import load_run, unchanged_data
from lesionlab.training.members import is_ensemble


@dataclass(frozen=True)
class ExplainOptions:
    """The options of `explain` on which its numbers depend (`api.explain.explain`)."""

    methods: tuple[str, ...] = ()  # empty: all that apply
    limit: int = 200  # images whose maps are measured
    checks: int = 32  # of them, for the expensive checks
    draws: int = 3
    projection: str = "tsne"
    seed: int = 0
    threads: int = 0  # 0: all of the machine's


@dataclass(frozen=True)
class ExplainSession:
    """A run's network, and the predictions of one split that are to be explained.

    `rows` (n,) of `dataset.table` are those of `predictions`, in its order.
    """

    run: Run
    dataset: Dataset  # in the order of `image_id`
    predictions: Predictions
    prior: Floats | None  # (K,)
    subject: ExplainedNetwork
    rows: Ints
    groups: npt.NDArray[np.object_]  # (len(table),)
    masks: LesionMasks | None  # None where no explained image has one
    options: ExplainOptions
    progress: Progress = SILENT

    @property
    def y(self) -> Ints:
        """(len(table),) class numbers."""
        return np.asarray(self.dataset.label_indices(self.dataset.table), np.int64)

    @property
    def predicted(self) -> Ints:
        """(n,) the class that the network predicts."""
        return np.asarray(self.predictions.y_prob.argmax(1), np.int64)

    @property
    def masked_rows(self) -> Ints:
        """The explained rows of `dataset.table` that have a mask."""
        if self.masks is None:
            return self.rows[:0]
        return self.rows[self.masks.known[self.rows]]

    def views(self, places: Ints) -> UInt8:
        """(k, S, S, C) uint8: what the network sees of the predictions at `places`."""
        return self.subject.views(self.rows[places])

    def mask(self, place: int) -> npt.NDArray[np.bool_] | None:
        """(S, S) bool: the lesion in that view; None where its mask is not known."""
        row = self.rows[[place]]
        if self.masks is None or not self.masks.known[row[0]]:
            return None
        mask: npt.NDArray[np.bool_] = self.masks.take(row)[0]
        return mask


def open_session(
    run: Run,
    dataset: Dataset,
    predictions: Predictions,
    prior: Floats | None,
    options: ExplainOptions,
    tree: Tree | None = None,
    progress: Progress = SILENT,
) -> ExplainSession:
    """Load the network and the pixels; `tree` holds masks by image id, else the imported ones.

    Raises `BadInput` where the data have changed, for an ensemble, for a method that does not
    apply, and where a predicted image is not in the data set.
    """
    if is_ensemble(run.folder):
        raise BadInput(
            "an ensemble has no single network to explain",
            where=str(run.folder),
            remedy="explain its members",
        )
    machine = choose_machine(threads=options.threads)
    dataset = unchanged_data(run, dataset.folder)
    loaded = load_run(run, dataset, machine=machine, progress=progress)
    chosen_methods(options.methods, loaded.network)  # refuses before any work
    masks = masks_of(dataset, dataset.table, loaded.how, tree)
    rows = _rows_of(predictions, dataset)
    return ExplainSession(
        run,
        dataset,
        predictions,
        prior,
        ExplainedNetwork(loaded.network, loaded.pixels, loaded.how, machine.device, loaded.facts),
        rows,
        np.asarray(united_groups(dataset.table), object),
        masks if masks.known[rows].any() else None,
        options,
        progress,
    )


def _rows_of(predictions: Predictions, dataset: Dataset) -> Ints:
    """(n,) row numbers of the predicted images."""
    position = pd.Series(np.arange(len(dataset.table)), index=dataset.table["image_id"])
    rows = position.reindex(predictions.image_id.astype(str))
    if rows.isna().any():
        raise BadInput(
            f"image '{rows.index[rows.isna()][0]}' of the predictions is not in the data set",
            where=str(dataset.folder),
        )
    return np.asarray(rows, np.int64)
