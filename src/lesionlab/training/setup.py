"""What is decided and checked before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab import files
from lesionlab.array_types import Floats, Ints
from lesionlab.config import Settings
from lesionlab.data.cache import Pixels, open_pixels
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset, group_ids, read_dataset
from lesionlab.errors import BadInput, counted
from lesionlab.progress import Progress
from lesionlab.run_folder import DatasetReference, RunConfig
from lesionlab.training.distributed import ALONE, Ranks

SNAPSHOT = "dataset.csv"  # the rows a run was trained on, so that a later change can be named

SNAPSHOT_COLUMNS = ["image_id", "label", "group", "split", "roi_x", "roi_y", "roi_size", "sha256"]


@dataclass(frozen=True)
class Parts:
    """The training and validation rows of a data set, in the order of `image_id`.

    `train` and `valid` are row numbers into `table`; `y` is (len(table),) int64.
    """

    dataset: Dataset
    y: Ints
    train: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]

    @property
    def counts(self) -> Floats:
        """(K,) training images of each class."""
        classes = len(self.dataset.info.classes)
        return np.bincount(self.y[self.train], minlength=classes).astype(np.float64)


def open_parts(folder: Path) -> Parts:
    """Read a split data set; independent of the order of its rows.

    Raises `BadInput` where a part is missing or a class is absent from training.
    """
    dataset = read_dataset(folder).in_order()
    if len(dataset.info.classes) < 2:
        raise BadInput(
            f"all images are of one class, '{dataset.info.classes[0]}': one class is no "
            "classification",
            where=str(folder),
            remedy="import again with images of another class",
        )
    parts = Parts(
        dataset,
        dataset.label_indices(dataset.table),
        dataset.rows_of("train"),
        dataset.rows_of("valid"),
    )
    absent = [c for c, n in zip(dataset.info.classes, parts.counts, strict=True) if not n]
    if absent:
        raise BadInput(
            f"class '{absent[0]}' has no training image",
            where=str(folder),
            remedy="split again, or import with fewer classes",
        )
    return parts


def snapshot(dataset: Dataset, facts: Sequence[str] = ()) -> pd.DataFrame:
    """What training depends on, one row an image, sorted by `image_id`.

    `facts` are the columns (age, sex, site) that the network reads.
    """
    rows = dataset.table.assign(group=group_ids(dataset.table))[[*SNAPSHOT_COLUMNS, *facts]]
    plain = rows.astype(object).where(rows.notna(), "").astype(str)
    return plain.sort_values("image_id").reset_index(drop=True)


def fingerprint(dataset: Dataset, facts: Sequence[str] = ()) -> str:
    """SHA-256 of the classes and the snapshot."""
    text = "|".join(dataset.info.classes) + "\n" + snapshot(dataset, facts).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def reference(dataset: Dataset, facts: Sequence[str] = ()) -> DatasetReference:
    """How a run names its data."""
    info = dataset.info
    return DatasetReference(
        folder=str(dataset.folder.resolve()),
        name=info.name,
        source=info.source,
        classes=info.classes,
        malignant=info.malignant,
        fingerprint=fingerprint(dataset, facts),
        images={k: int(v) for k, v in dataset.table["split"].value_counts().items() if k},
        leaky=info.leaky,
        leak_reason=info.leak_reason,
        synthetic=info.synthetic,
        licence=info.licence,
    )


def refuse_changed_data(run_folder: Path, config: RunConfig, dataset: Dataset) -> None:
    """`BadInput`, with the difference, where the data are not those the run began with."""
    if tuple(config.dataset.classes) != tuple(dataset.info.classes):
        before, now = ", ".join(config.dataset.classes), ", ".join(dataset.info.classes)
        raise BadInput(
            f"the classes have changed from {before} to {now}", where=str(dataset.folder)
        )
    facts = config.settings.model.metadata
    if fingerprint(dataset, facts) == config.dataset.fingerprint:
        return
    old = pd.read_csv(run_folder / SNAPSHOT, dtype=str, keep_default_na=False).set_index("image_id")
    new = snapshot(dataset, facts).set_index("image_id")
    gone, added = old.index.difference(new.index), new.index.difference(old.index)
    both = old.index.intersection(new.index)
    differs = old.loc[both] != new.loc[both]
    changed = both[differs.any(axis=1)]
    first = [*gone[:1], *added[:1]]
    first += [_changed_row(old.loc[i], new.loc[i]) for i in changed[:1]]
    raise BadInput(
        f"the data set has changed since the run began: {counted(len(gone), 'image')} gone, "
        f"{len(added)} "
        f"added, {len(changed)} changed (first: {', '.join(first)})",
        where=str(dataset.folder),
        remedy="restore it, or start a new run",
    )


def _changed_row(old: pd.Series, new: pd.Series) -> str:
    """One image whose row differs, with the first column that does and both its values."""
    column = next(c for c in old.index if old[c] != new[c])
    return f"{old.name}, {column} was {old[column] or 'empty'}, is {new[column] or 'empty'}"


def write_snapshot(run_folder: Path, dataset: Dataset, facts: Sequence[str] = ()) -> None:
    """Keep the rows that the run is trained on."""
    files.write_text(run_folder / SNAPSHOT, snapshot(dataset, facts).to_csv(index=False))


def preprocessing(settings: Settings, size: int | None = None) -> Preprocessing:
    """The settings' input as the image functions take it, at another size where asked."""
    shown = settings.shown
    return Preprocessing(
        size or shown.size,
        shown.fit,
        shown.channels,
        shown.mean,
        shown.std,
        shown.interpolation,
        shown.crop,
    )


def stage_pixels(
    parts: Parts, settings: Settings, size: int, progress: Progress, ranks: Ranks = ALONE
) -> Pixels:
    """All rows of the data set at one size; of several processes the first one decodes."""
    how = preprocessing(settings, size)
    if ranks.first:
        pixels = open_pixels(parts.dataset, how, progress=progress)
    ranks.wait()
    return pixels if ranks.first else open_pixels(parts.dataset, how, progress=progress)
