"""One pass over a data set's images: every number that a check needs, each file decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lesionlab.data.audit.artefacts import INDICES, artefact_indices
from lesionlab.data.duplicates.describe import LUMA
from lesionlab.data.duplicates.fingerprints import (
    Fingerprint,
    Fingerprints,
    assembled,
    dataset_opener,
    look,
)
from lesionlab.data.duplicates.verification import WORKERS
from lesionlab.data.images import open_image
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

BORDER = 6  # pixels of 64: the outer tenth
COLOURS = ("red", "green", "blue")
MEAN = tuple(f"mean_{c}" for c in COLOURS)
RIM = tuple(f"border_{c}" for c in COLOURS)


@dataclass(frozen=True)
class ImageMeasurements:
    """What was seen of N rows.

    `table` has, in the data set's order: `reason` ("" where the image could be read), `sha256`
    and `file_bytes` of the file, `width` and `height` of the image, `spread` (standard deviation
    of grey), mean and border colour (0 to 255), and the artefact indices. `looks` are the
    readable rows, for the search for duplicates.
    """

    table: pd.DataFrame
    looks: Fingerprints


def measure(dataset: Dataset, progress: Progress = SILENT) -> ImageMeasurements:
    """Open every image of a data set once. What cannot be read is noted, not raised."""
    rows = dataset.table.to_dict("records")
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda row: _one(dataset, row), rows)
        results = list(progress(found, "measuring images", len(rows)))
    table = pd.DataFrame([facts for facts, _ in results], index=dataset.table.index)
    read = [k for k, (_, seen) in enumerate(results) if seen is not None]
    looks = [seen for _, seen in results if seen is not None]
    names = [str(rows[k]["image_id"]) for k in read]
    return ImageMeasurements(
        table, assembled(names, looks, lambda k: dataset_opener(dataset, rows[read[k]])()[0])
    )


def _one(dataset: Dataset, row: Mapping[Any, Any]) -> tuple[dict[str, Any], Fingerprint | None]:
    """The facts of one row, and its look (None where the image cannot be read)."""
    path = dataset.image_path(str(row["path"]))
    blank: dict[str, Any] = dict.fromkeys((*MEAN, *RIM, *INDICES), np.nan)
    facts = {"reason": "", "sha256": "", "file_bytes": np.nan, "width": np.nan, "height": np.nan}
    try:
        data = path.read_bytes()
        facts |= {"file_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        whole = open_image(data, str(row["path"]), reading=dataset.reading)
    except OSError as error:
        return {**facts, "reason": f"cannot be read ({error.strerror})", **blank}, None
    except BadInput as error:
        return {**facts, "reason": getattr(error, "reason", str(error)), **blank}, None
    facts |= {"width": whole.width, "height": whole.height}
    region = _region(whole, row)
    seen = look(region, data if region is whole else b"")
    return {**facts, **_colours(seen), **artefact_indices(region)}, seen


def _region(image: Image.Image, row: Mapping[Any, Any]) -> Image.Image:
    """The row's own part of the film, or the image itself."""
    x, y, size = (float(row[c]) for c in ("roi_x", "roi_y", "roi_size"))
    if not np.isfinite([x, y, size]).all():
        return image
    left, top, side = round(x - size / 2), round(y - size / 2), max(1, round(size))
    return image.crop((left, top, left + side, top + side))


def _colours(seen: Fingerprint) -> dict[str, float]:
    small = seen.thumbnail.astype(np.float32)
    rim = np.ones(small.shape[:2], bool)
    rim[BORDER:-BORDER, BORDER:-BORDER] = False
    mean, border = small.mean((0, 1)), small[rim].mean(0)
    return {
        "spread": float((small @ LUMA).std()),
        **dict(zip(MEAN, map(float, mean), strict=True)),
        **dict(zip(RIM, map(float, border), strict=True)),
    }
