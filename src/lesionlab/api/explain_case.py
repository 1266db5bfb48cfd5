"""What all steps of `explain` share: network, pixels, masks. Needs the extra `train`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.api.subject import Subject as Evaluated
from lesionlab.data.archive import Tree
from lesionlab.data.cache import open_pixels
from lesionlab.data.facts import encode
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset
from lesionlab.data.masks import LesionMasks, masks_of
from lesionlab.errors import BadInput
from lesionlab.explanation.methods import Ints, Subject, chosen_methods
from lesionlab.progress import Progress
from lesionlab.run import Run
from lesionlab.training.machine import choose_machine
from lesionlab.training.members import is_ensemble
from lesionlab.training.predict import load_network
from lesionlab.training.setup import preprocessing, refuse_changed_data


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
class Case:
    """All that the steps below share. `rows` are the part's rows of `dataset.table`."""

    evaluated: Evaluated
    run: Run
    dataset: Dataset
    subject: Subject
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


def opened(evaluated: Evaluated, asked: Asked, tree: Tree | None, progress: Progress) -> Case:
    """Load the network and the pixels; `BadInput` where the data have changed."""
    run, dataset = evaluated.run, evaluated.dataset
    assert run is not None
    assert dataset is not None
    if is_ensemble(run.folder):
        raise BadInput(
            "an ensemble has no single network to explain",
            where=str(run.folder),
            remedy="explain its members",
        )
    refuse_changed_data(run.folder, run.config, dataset)
    table = dataset.table.sort_values("image_id", kind="stable").reset_index(drop=True)
    dataset = Dataset(dataset.folder, table, dataset.info)
    how, machine = preprocessing(run.config.settings), choose_machine(threads=asked.threads)
    network = load_network(run).to(machine.device)
    chosen_methods(asked.methods, network)  # refuses before any work
    masks = masks_of(dataset, table, how, tree)
    facts = None if run.config.facts is None else encode(table, run.config.facts)
    pixels = open_pixels(dataset, how, progress=progress)
    place = pd.Series(np.arange(len(table)), index=table["image_id"])
    rows = place.reindex(evaluated.predictions.image_id.astype(str))
    if rows.isna().any():
        raise BadInput(
            f"image '{rows.index[rows.isna()][0]}' of the predictions is not in the data set",
            where=str(dataset.folder),
        )
    return Case(
        evaluated,
        run,
        dataset,
        Subject(network, pixels, how, machine.device, facts),
        rows.to_numpy(np.int64),
        np.asarray(united_groups(table), object),
        masks if masks.known[rows.to_numpy(np.int64)].any() else None,
        asked,
        progress,
    )
