"""The ABCD numbers of the explained lesions: colour and shape, in pixels of the original images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.data.abcd import NAMES, abcd_table
from lesionlab.data.images import open_image
from lesionlab.data.manifest import Dataset
from lesionlab.data.masks import LesionMasks
from lesionlab.progress import SILENT, Progress


def lesion_table(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    masks: LesionMasks | None,
    progress: Progress = SILENT,
) -> pd.DataFrame | None:
    """`image_id`, the numbers, `label` of the given rows of `dataset.table`; None without masks.

    An image without a mask has a row of NaN.
    """
    if masks is None or not masks.known[rows].any():
        return None
    table = dataset.table
    ticks = iter(progress(range(len(rows)), "lesion geometry", len(rows)))

    def picture(i: int) -> npt.NDArray[np.uint8]:
        path = dataset.image_path(str(table["path"].iloc[rows[i]]))
        return np.asarray(open_image(path, reading=dataset.reading).convert("RGB"))

    def mask(i: int) -> npt.NDArray[np.bool_] | None:
        next(ticks, None)
        row = int(rows[i])
        return masks.original(row) if masks.known[row] else None

    numbers = abcd_table([str(v) for v in table["image_id"].iloc[rows]], picture, mask)
    next(ticks, None)
    return numbers.assign(label=table["label"].iloc[rows].to_numpy())


def lesions_by_class(
    classes: tuple[str, ...], lesions: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Quartiles of each number by class."""
    if lesions is None:
        return []
    rows = []
    for name in classes:
        mine = lesions[(lesions["label"] == name) & lesions["area"].notna()]
        quartiles = {
            k: [None if pd.isna(v) else float(v) for v in mine[k].quantile([0.25, 0.5, 0.75])]
            for k in NAMES
        }
        rows.append({"label": name, "n": len(mine), **quartiles})
    return rows


def lesion_of(lesions: pd.DataFrame | None, row: int) -> dict[str, float] | None:
    """The numbers of the image in a row of the predictions; None where it has no lesion's mask."""
    if lesions is None or pd.isna(lesions["area"].iloc[row]):
        return None
    return {k: float(lesions[k].iloc[row]) for k in NAMES}
