"""What the sets of mammograms share: a table of views, and pictures that are DICOM or converted."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from lesionlab.data.file_kinds import stem_of
from lesionlab.data.sources.base import Rejected
from lesionlab.data.tree import Tree
from lesionlab.errors import counted

SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}


def sides(values: pd.Series) -> pd.Series:
    """`left`, `right` or "" of L, R, LEFT, RIGHT.

    >>> sides(pd.Series(["L", "RIGHT", "?"])).tolist()
    ['left', 'right', '']
    """
    return values.astype(str).str.strip().str.lower().map(SIDES).fillna("")


def with_pictures(
    table: pd.DataFrame, tree: Tree, where: str, id_of: Callable[[str], str] = stem_of
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Add `file` to the rows of a table by `image_id`; `id_of` gives the id of a file's name.

    Of an image that is there as DICOM and converted the DICOM file is taken. Returns the rows
    with a picture, those without as rejected, and notes.
    """
    names = [*tree.dicoms, *tree.images]
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(id_of(name), name)
    files = table["image_id"].map(found)
    rejected = [
        Rejected(str(i), f"named in {where} but there is no such image")
        for i in table.loc[files.isna(), "image_id"]
    ]
    extra = sorted(set(found) - set(table["image_id"]))
    notes = [f"{counted(len(extra), 'image is', 'images are')} not named in {where} and left out"][
        : len(extra)
    ]
    twice = len(names) - len(found)
    notes += [f"{counted(twice, 'file repeats', 'files repeat')} another of one image"][:twice]
    return table.assign(file=files)[files.notna()].reset_index(drop=True), rejected, notes


def without_label(rows: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[Rejected]]:
    """The rows that have a label, and the others as rejected."""
    bare = rows["label"] == ""
    rejected = [Rejected(str(i), f"without a label in {where}") for i in rows.loc[bare, "image_id"]]
    return rows[~bare].reset_index(drop=True), rejected
