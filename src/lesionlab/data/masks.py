"""Lesion masks that come in a folder or archive of their own, joined by image id."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from lesionlab.data.file_kinds import stem_of
from lesionlab.data.images import Preprocessing, Roi, header_of, orientation_of, prepare
from lesionlab.data.manifest import Dataset
from lesionlab.data.mask_geometry import fitted, read_mask
from lesionlab.data.sources.base import Found
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted

# `ISIC_0024306_segmentation.png`, `IMD003_lesion.bmp`, `x_mask.png`
ENDING = re.compile(r"[_-](segmentation|lesion|mask|seg)$", re.IGNORECASE)


def _by_id(tree: Tree) -> dict[str, str]:
    """A name that ends as masks do goes before one that may be the photograph's."""
    names = sorted(tree.images, key=lambda n: bool(ENDING.search(stem_of(n))))
    return {ENDING.sub("", stem_of(n)): n for n in names}


def _none_fits(tree: Tree) -> BadInput:
    return BadInput(
        "no mask is named after an image id",
        where=tree.origin,
        remedy="masks are named <image_id>.png or <image_id>_segmentation.png",
    )


def with_masks(found: Found, tree: Tree) -> Found:
    """`found` with a `mask_file` for each image whose id a mask's name carries.

    Raises `BadInput` where no mask fits any image.
    """
    files = found.rows["image_id"].map(_by_id(tree))
    if files.isna().all():
        raise _none_fits(tree)
    keys = ("mask:" + files).where(files.notna(), "")

    def read(name: str) -> bytes:
        return tree.read(name[5:]) if name.startswith("mask:") else found.read(name)

    lost = int(files.isna().sum())
    notes = (*found.notes, *[f"{counted(lost, 'image has', 'images have')} no mask"][:lost])
    return replace(found, rows=found.rows.assign(mask_file=keys), read=read, notes=notes)


@dataclass(frozen=True)
class LesionMasks:
    """The lesion masks of a table's rows, decoded when they are asked for.

    `readers` holds for each row what gives the mask's bytes, or None where there is no mask.
    """

    readers: tuple[Callable[[], bytes] | None, ...]
    sizes: tuple[tuple[int, int] | None, ...]  # (width, height) of the images in pixels, if known
    rois: tuple[Roi | None, ...]
    how: Preprocessing
    # What gives the EXIF orientation of each image; empty where import has turned the masks.
    turns: tuple[Callable[[], int], ...] = ()

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) which rows have a mask."""
        return np.array([reader is not None for reader in self.readers], bool)

    def original(self, row: int) -> npt.NDArray[np.bool_]:
        """(height, width) bool, at the size of the image."""
        return np.asarray(self._picture(row), np.uint8) > 127

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(n, S, S) bool, as the network sees the pictures; empty where there is no mask."""
        # The same geometry, but bilinear: bicubic would ring along the outline.
        how = replace(self.how, channels=1, interpolation="bilinear")
        found = np.zeros((len(rows), how.size, how.size), bool)
        for i, row in enumerate(rows):
            if self.readers[row] is not None:
                found[i] = prepare(self._picture(row), how, self.rois[row])[..., 0] > 127
        return found

    def _picture(self, row: int) -> Image.Image:
        reader = self.readers[row]
        if reader is None:
            raise BadInput(f"row {row} has no mask")
        mask, size = read_mask(reader(), "mask"), self.sizes[row]
        return mask if size is None else fitted(mask, size, self.turns[row]() if self.turns else 1)


def masks_of(
    dataset: Dataset, table: pd.DataFrame, how: Preprocessing, tree: Tree | None = None
) -> LesionMasks:
    """The masks of the rows of `table`: from `tree` by image id, else those that were imported.

    Raises `BadInput` where no mask of `tree` carries the id of an image.
    """
    if tree is not None:
        names = _by_id(tree)
        readers = [_reader(tree, names.get(i)) for i in table["image_id"]]
        turns: tuple[Callable[[], int], ...] = tuple(
            partial(_orientation, dataset.image_path(p)) for p in table["path"]
        )
        if not any(readers):
            raise _none_fits(tree)
    else:
        paths = table["mask"] if "mask" in table else [""] * len(table)
        readers = [(dataset.folder / p).read_bytes if p else None for p in paths]
        turns = ()
    places = table[["roi_x", "roi_y", "roi_size"]].itertuples(index=False)
    rois = tuple(None if np.isnan(list(p)).any() else Roi(*p) for p in places)
    sides = table[["width", "height"]].itertuples(index=False)
    sizes = tuple(None if np.isnan([w, h]).any() else (int(w), int(h)) for w, h in sides)
    return LesionMasks(tuple(readers), sizes, rois, how, turns)


def _orientation(path: Path) -> int:
    """1 also where the image cannot be read, which whoever decodes it says."""
    try:
        return orientation_of(header_of(path.read_bytes(), str(path)))
    except (OSError, BadInput):
        return 1


def _reader(tree: Tree, name: str | None) -> Callable[[], bytes] | None:
    return None if name is None else partial(tree.read, name)
