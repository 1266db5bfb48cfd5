"""What a report knows beyond the numbers: facts of the data set, thumbnails, provenance."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from PIL import Image

from lesionlab.data.groups import united_groups
from lesionlab.data.images import Preprocessing, Roi, open_image, prepare
from lesionlab.data.manifest import Dataset
from lesionlab.data.split import summary
from lesionlab.errors import BadInput
from lesionlab.reporting.content import DataFacts

THUMBNAIL_SIDE = 112  # pixels
THUMBNAIL_BYTES = 4096
QUALITIES = (80, 70, 60, 50, 40, 30, 20)


def data_facts(dataset: Dataset) -> DataFacts:
    """What the report's first section says about the data set."""
    info, table = dataset.info, dataset.table
    groups = united_groups(table)
    counts = summary(table, groups, info.classes)
    # The counts of each split are dicts; `groups_crossing` is a number and not shown here.
    parts = {name: value for name, value in counts.items() if isinstance(value, dict)}
    return DataFacts(
        name=info.name,
        source=info.source,
        licence=info.licence,
        citation=info.citation,
        modality=info.modality,
        synthetic=info.synthetic,
        leaky=info.leaky,
        leak_reason=info.leak_reason,
        images=len(table),
        groups=len(set(groups)),
        parts=parts,
        split_policy=info.split_policy,
        patients_unknown=int((table["patient_id"].astype(str) == "").sum()),
        notes=info.notes,
    )


def thumbnailer(dataset: Dataset) -> Callable[[str], bytes | None]:
    """`image_id` (or lesion or patient, when those are the unit) -> a small JPEG, or None."""
    table = dataset.table
    rows: dict[str, int] = {}
    for column in ("patient_id", "lesion_id", "image_id"):
        values = table[column].to_numpy(object)
        rows |= {
            str(v): i for i, v in zip(range(len(values))[::-1], values[::-1], strict=True) if v
        }

    def thumbnail(name: str) -> bytes | None:
        if name not in rows:
            return None
        return _picture(dataset, table.iloc[rows[name]])

    return thumbnail


def _picture(dataset: Dataset, row: pd.Series) -> bytes | None:
    try:
        image = open_image(dataset.image_path(str(row["path"])), reading=dataset.reading)
    except BadInput:
        return None  # the report must not fail for a picture; the place says that there is none
    known = row[["roi_x", "roi_y", "roi_size"]].notna().all()
    roi = Roi(row["roi_x"], row["roi_y"], row["roi_size"]) if known else None
    how = Preprocessing(size=THUMBNAIL_SIDE, fit="crop")
    return small_jpeg(Image.fromarray(prepare(image, how, roi)))


def small_jpeg(image: Image.Image, limit: int = THUMBNAIL_BYTES) -> bytes:
    """A JPEG of at most `limit` bytes where a sensible quality allows; no metadata."""
    data = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= limit:
            break
    return data


def dataset_beside(folder: Path, other: Path | None) -> Path | None:
    """The dataset folder to use: the one given, else the recorded one if it is still there."""
    if other is not None:
        return other
    return folder if (folder / "dataset.json").is_file() else None
