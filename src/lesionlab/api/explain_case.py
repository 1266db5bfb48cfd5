"""What all steps of `explain` share: network, pixels, masks. Needs the extra `train`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.data.archive import Tree
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset
from lesionlab.data.masks import LesionMasks, masks_of
from lesionlab.errors import BadInput
from lesionlab.evaluation.subject import Subject as Evaluated
from lesionlab.explanation.methods import ExplainedNetwork, Ints, chosen_methods
from lesionlab.progress import Progress
from lesionlab.run import Run
from lesionlab.training.inference import load_run, unchanged_data
from lesionlab.training.machine import choose_machine
from lesionlab.training.members import is_ensemble


@dataclass(frozen=True)
class Asked:
    """The options of `explain`."""

    methods: tuple[str, ...]
    limit: int
    checks: int
    projection: str
    seed: int
    lang: str
    threads: int = 0
    draws: int = 3


@dataclass(frozen=True)
class ExplainSession:
    """All that the steps below share. `rows` are the part's rows of `dataset.table`."""

    evaluated: Evaluated
    run: Run
    dataset: Dataset
    subject: ExplainedNetwork
    rows: Ints
    groups: npt.NDArray[np.object_]  # (len(table),)
    masks: LesionMasks | None
    asked: Asked
    progress: Progress

    @property
    def y(self) -> Ints:
        """(len(table),) class numbers."""
        return np.asarray(self.dataset.label_indices(self.dataset.table), np.int64)

    @property
    def called(self) -> Ints:
        """(len(rows),) the class that the network calls."""
        return np.asarray(self.evaluated.predictions.y_prob.argmax(1), np.int64)


def opened(
    evaluated: Evaluated, asked: Asked, tree: Tree | None, progress: Progress
) -> ExplainSession:
    """Load the network and the pixels; `BadInput` where the data have changed."""
    run, dataset = evaluated.run, evaluated.dataset
    assert run is not None
    assert dataset is not None
    if is_ensemble(run.folder):
        raise BadInput(
            "an ensemble has no one network to explain",
            where=str(run.folder),
            remedy="explain its members",
        )
    machine = choose_machine(threads=asked.threads)
    dataset = unchanged_data(run, dataset.folder)
    loaded = load_run(run, dataset, machine=machine, progress=progress)
    chosen_methods(asked.methods, loaded.network)  # refuses before any work
    table, how = dataset.table, loaded.how
    masks = masks_of(dataset, table, how, tree)
    place = pd.Series(np.arange(len(table)), index=table["image_id"])
    rows = place.reindex(evaluated.predictions.image_id.astype(str))
    if rows.isna().any():
        raise BadInput(
            f"image '{rows.index[rows.isna()][0]}' of the predictions is not in the data set",
            where=str(dataset.folder),
        )
    return ExplainSession(
        evaluated,
        run,
        dataset,
        ExplainedNetwork(loaded.network, loaded.pixels, how, machine.device, loaded.facts),
        rows.to_numpy(np.int64),
        np.asarray(united_groups(table), object),
        masks if masks.known[rows.to_numpy(np.int64)].any() else None,
        asked,
        progress,
    )
