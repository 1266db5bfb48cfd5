"""Import of lesion masks: each is written as a PNG of 0 and 255 in the shape of its image."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab.data.images import UnreadableImage, header_of, orientation_of
from lesionlab.data.mask_geometry import fitted, how_drawn, read_mask
from lesionlab.data.sources.base import Rejected
from lesionlab.errors import BadInput, counted
from lesionlab.platforms import usable_cpus
from lesionlab.progress import Progress

MASKS = "masks"


@dataclass(frozen=True)
class _Written:
    """What became of one mask; `reason` says why it was refused."""

    empty: bool = False
    reason: str = ""


def import_masks(
    read: Callable[[str], bytes],
    table: pd.DataFrame,
    folder: Path,
    orientations: Mapping[str, int],
    progress: Progress,
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Write the masks of `table` below `folder`; `orientations` are those of EXIF, by `file`.

    A mask follows its photograph: it is scaled, and turned where it was drawn on the pixels as
    they are stored. Returns the table without the masks that fit no image, those as rejected (the
    images stay), and notes.
    """
    (folder / MASKS).mkdir()
    rows = list(table[table["mask"] != ""].drop_duplicates("mask").itertuples())
    shapes = [_drawn(read, row, orientations[row.file]) for row in rows]
    as_stored = shapes.count("stored") >= shapes.count("upright")
    work = partial(_write, read, folder, orientations, as_stored)
    with ThreadPoolExecutor(max(2, usable_cpus())) as pool:
        done = list(progress(pool.map(work, rows), "importing masks", len(rows)))
    lost = {row.mask: w.reason for row, w in zip(rows, done, strict=True) if w.reason}
    names = {row.mask: row.mask_file.removeprefix("mask:") for row in rows}
    kept = table.assign(mask=table["mask"].where(~table["mask"].isin(list(lost)), ""))
    rejected = [Rejected(names[mask], reason) for mask, reason in lost.items()]
    return kept, rejected, _notes(shapes, as_stored, sum(w.empty for w in done))


def _drawn(read: Callable[[str], bytes], row: Any, orientation: int) -> str:
    """On which pixels of a turned photograph a mask was drawn: "" where its shape does not say.

    "plain" where nothing is to be decided: the photograph is not turned, or the mask is too.
    """
    if orientation == 1:
        return "plain"
    try:
        header = header_of(read(row.mask_file), row.mask_file)
        if orientation_of(header) != 1:
            return "plain"
        return how_drawn(header.size, (int(row.width), int(row.height)), orientation)
    except BadInput:  # it is read later, and told
        return "plain"


def _write(
    read: Callable[[str], bytes],
    folder: Path,
    orientations: Mapping[str, int],
    as_stored: bool,
    row: Any,
) -> _Written:
    size = int(row.width), int(row.height)
    try:
        data = read(row.mask_file)
        turned = orientation_of(header_of(data, row.mask_file)) != 1
        orientation = 1 if turned else orientations[row.file]
        mask = fitted(read_mask(data, row.mask_file), size, orientation, as_stored)
    except UnreadableImage as error:
        return _Written(reason=f"a mask: {error.reason}")
    except BadInput as error:
        return _Written(reason=str(error))
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    (folder / row.mask).write_bytes(stream.getvalue())
    return _Written(empty=mask.getextrema()[1] == 0)


def _notes(shapes: list[str], as_stored: bool, empty: int) -> list[str]:
    turned, unsure = shapes.count("stored"), shapes.count("")
    told = []
    if turned:
        told.append(
            f"{counted(turned, 'mask was', 'masks were')} drawn on the stored pixels of a turned "
            "photograph, and turned like it"
        )
    if unsure:
        what = "turned like it" if as_stored else "not turned"
        told.append(
            f"WARNING: the shape of {counted(unsure, 'mask')} does not say whether it was drawn on "
            f"the stored or the upright pixels of a turned photograph; {what}: look at some"
        )
    if empty:
        told.append(f"WARNING: {counted(empty, 'mask is', 'masks are')} empty")
    return told
