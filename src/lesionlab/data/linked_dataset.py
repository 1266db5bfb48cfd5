"""A data set with other parts and the same images: its pixels, caches and features are links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionlab.data.manifest import Dataset, with_table, write_dataset
from lesionlab.data.split import Parts
from lesionlab.platforms import link_folder

LINKS = ("images", "masks", "cache")


def write_linked_dataset(dataset: Dataset, parts: Parts, folder: Path, **info: Any) -> Dataset:
    """Write `folder` as `dataset` with the column `split` replaced by `parts` (N,).

    No image is copied and no row leaves the table, so that what was cached for `dataset` holds
    here too. `info` are fields of `dataset.json`, such as `split_policy`.
    """
    folder.mkdir(parents=True)
    (dataset.folder / "cache").mkdir(exist_ok=True)
    for name in LINKS:
        if (dataset.folder / name).exists():
            link_folder(dataset.folder / name, folder / name)
    twin = with_table(dataset, dataset.table.assign(split=parts), **info)
    made = Dataset(folder, twin.table, twin.info)
    write_dataset(made)
    return made
