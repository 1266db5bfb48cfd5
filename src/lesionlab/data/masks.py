"""Lesion masks that come in a folder or archive of their own, joined by image id."""

from __future__ import annotations

import re
from dataclasses import replace

from lesionlab.data.archive import Tree
from lesionlab.data.images import SUFFIXES
from lesionlab.data.sources.base import Found
from lesionlab.data.sources.common import stem_of
from lesionlab.errors import BadInput

# `ISIC_0024306_segmentation.png`, `IMD003_lesion.bmp`, `x_mask.png`
ENDING = re.compile(r"[_-](segmentation|lesion|mask|seg)$", re.IGNORECASE)


def with_masks(found: Found, tree: Tree) -> Found:
    """`found` with a `mask_file` for each image whose id a mask's name carries.

    Raises `BadInput` where no mask fits any image.
    """
    names = {ENDING.sub("", stem_of(n)): n for n in tree.ending(*SUFFIXES)}
    files = found.rows["image_id"].map(names)
    if files.isna().all():
        raise BadInput(
            "no mask carries the id of an image",
            where=tree.origin,
            remedy="masks are named <image_id>.png or <image_id>_segmentation.png",
        )
    keys = ("mask:" + files).where(files.notna(), "")

    def read(name: str) -> bytes:
        return tree.read(name[5:]) if name.startswith("mask:") else found.read(name)

    lost = int(files.isna().sum())
    notes = (*found.notes, *[f"{lost} images have no mask"][:lost])
    return replace(found, rows=found.rows.assign(mask_file=keys), read=read, notes=notes)
