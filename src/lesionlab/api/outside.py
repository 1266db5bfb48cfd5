"""A run meets another data set: model, temperature and operating point stay as they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lesionlab import extras
from lesionlab.data.id_matching import plain_id
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.taxonomy import counterparts
from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.progress import Progress

if TYPE_CHECKING:
    from lesionlab.run_folder import Run

SNAPSHOT = "dataset.csv"  # in the run folder: the rows it was trained on
PART = "outside"
UNNAMED = (
    "folder",
    "csv",
    "dicom",
    "merge",
    "roboflow",
    "coco",
    "fiftyone",
    "imagefolder",
)  # sources that give every data set one name


def of_outside(
    inside: Subject, folder: Path, out: Path | str | None, progress: Progress
) -> Subject:
    """The run of `inside` on the images of another dataset folder.

    Labels are mapped by the taxonomy; classes without a counterpart, and images that the run's
    own data set holds too (by id or by bytes), are left out and named. Raises `BadInput` where
    nothing is left.
    """
    if inside.run is None:
        raise BadInput("external validation needs a run", where="--on")
    other = read_dataset(folder)
    kept, notes = comparable(other, inside.run)
    predictions = _predicted(inside.run, kept, progress)
    place = Path(folder).resolve().name
    name = place if other.info.source in UNNAMED else other.info.name
    beside = [(inside.part, inside.predictions), *inside.beside]
    return dataclasses.replace(
        inside,
        title=f"{inside.title} on {name}",
        part=PART,
        predictions=predictions,
        out=inside.run.folder / f"outside-{place}" if out is None else Path(out),
        dataset=dataclasses.replace(other, table=other.table.loc[kept.table.index]),
        beside=tuple((part, p) for part, p in beside if part in ("valid", "test")),
        provenance={**inside.provenance, "outside": name},
        notes=(*inside.notes, *notes),
    )


def comparable(other: Dataset, run: Run) -> tuple[Dataset, list[str]]:
    """The rows of `other` that the run can be measured on, with the run's labels; and notes.

    The rows keep the index of `other.table`.
    """
    ours = run.config.dataset.classes
    named = counterparts(other.info.classes, ours)
    table = other.table.assign(label=other.table["label"].map(named))
    notes = [
        f"class '{name}' ({counted(int((other.table['label'] == name).sum()), 'image')}) has "
        "no counterpart"
        " and is excluded"
        for name, counterpart in named.items()
        if counterpart is None
    ]
    renamed = {a: b for a, b in named.items() if b is not None and a != b}
    if renamed:
        notes.append("read as: " + ", ".join(f"{a} as {b}" for a, b in renamed.items()))
    seen = _seen(other.table, run)
    if seen.any():
        notes.append(
            counted(
                int(seen.sum()),
                "image is also in the data set of the run and is excluded",
                "images are also in the data set of the run and are excluded",
            )
        )
    kept = table[table["label"].notna() & ~seen]
    if kept.empty:
        raise BadInput(
            "no image remains: " + "; ".join(notes or ["the data set is empty"]),
            where=str(other.folder),
            remedy="give a data set with matching classes and other images",
        )
    info = other.info.model_copy(update={"classes": ours})
    return Dataset(other.folder, kept, info), notes


def _seen(table: pd.DataFrame, run: Run) -> pd.Series:
    """(N,) whether the run's data set holds the image: the same id or the same bytes."""
    path = run.folder / SNAPSHOT
    if not path.is_file():
        return pd.Series(False, index=table.index)
    known = pd.read_csv(path, dtype=str, keep_default_na=False)
    ids = {plain_id(v) for v in known["image_id"]}
    hashes = set(known["sha256"]) - {""}
    by_id = [plain_id(v) in ids for v in table["image_id"]]
    return pd.Series(by_id, index=table.index) | table["sha256"].isin(hashes)


def _predicted(run: Run, dataset: Dataset, progress: Progress) -> Predictions:

    extras.need_torch("predicting with a run")
    from lesionlab.training.inference import load_run

    rows, loaded = np.arange(len(dataset.table)), load_run(run, dataset, progress=progress)
    return loaded.predictions(rows, loaded.logits(rows, "predicting outside data"))
