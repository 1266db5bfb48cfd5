"""What a source is: one function from a tree to rows, and what is known about its data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lesionlab.data.archive import Tree
from lesionlab.data.images import SUFFIXES
from lesionlab.errors import BadInput, nearest


@dataclass(frozen=True)
class Rejected:
    """A file or row that import left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What a source made of a tree.

    `rows` holds `image_id`, `label` and `file`, and any further column: of the manifest (absent
    ones are filled with "") or of the source. `file` is what `read` takes to give the image's
    bytes; several rows (regions) may share it. An optional `mask_file` names a lesion mask.
    """

    rows: pd.DataFrame
    read: Callable[[str], bytes]
    classes: tuple[str, ...]
    malignant: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    expected: Mapping[str, Any] | None = None  # replaces the source's own counts


@dataclass(frozen=True)
class Source:
    """A data set that can be imported: `find(tree, options)` and the facts about it.

    `recognise(tree)` says in a few words why a tree is this data set, or "" where it is not.
    `expected` holds the published counts: `images`, `lesions`, `patients`, `classes`.
    """

    name: str
    title: str
    find: Callable[[Tree, Mapping[str, Any]], Found]
    recognise: Callable[[Tree], str]
    licence: str = "unknown"
    citation: str = ""
    modality: str = "dermoscopy"
    expected: Mapping[str, Any] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()  # columns that must never be model inputs
    options: Mapping[str, Any] = field(default_factory=dict)  # name -> default
    needs_tree: bool = True
    synthetic: bool = False


def checked_options(source: Source, given: Mapping[str, Any]) -> dict[str, Any]:
    """The source's options with defaults filled in; `BadInput` for one that it does not know."""
    for name in given:
        if name not in source.options:
            hint = nearest(name, source.options) if source.options else "it takes no options"
            raise BadInput(
                f"source '{source.name}' has no option '--{name.replace('_', '-')}'", remedy=hint
            )
    return {**source.options, **given}


def images_by_stem(tree: Tree, names: Sequence[str] | None = None) -> dict[str, str]:
    """`{file name without suffix: name}` of all images, e.g. `{"ISIC_0024306": "part_1/..."}`.

    Raises `BadInput` where two different files share a stem.
    """
    found: dict[str, str] = {}
    for name in tree.ending(*SUFFIXES) if names is None else names:
        stem = stem_of(name)
        if stem in found:
            a, b = tree.entries[found[stem]], tree.entries[name]
            if a.size != b.size or a.read() != b.read():
                raise BadInput(
                    f"'{found[stem]}' and '{name}' are different files for one image",
                    where=tree.origin,
                    remedy="keep only one of the folders",
                )
            continue
        found[stem] = name
    return found


def stem_of(name: str) -> str:
    """The last part of a `/`-separated name, without its suffix."""
    last = name.rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0] if "." in last else last


def match_images(
    table: pd.DataFrame, tree: Tree, table_name: str
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Add `file` to the rows of a metadata table by `image_id`.

    Returns the rows that have an image, the rows that have none as rejected, and notes on
    images that the table does not name.
    """
    images = images_by_stem(tree)
    files = table["image_id"].map(images)
    rejected = [
        Rejected(str(i), f"named in {table_name} but there is no such image")
        for i in table.loc[files.isna(), "image_id"]
    ]
    extra = sorted(set(images) - set(table["image_id"]))
    notes = []
    if extra:
        notes.append(
            f"{len(extra)} images are not named in {table_name} and were left out, "
            f"the first is {images[extra[0]]}"
        )
    kept = table.assign(file=files)[files.notna()].reset_index(drop=True)
    return kept, rejected, notes


def without_repeats(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Drop rows that repeat another; `BadInput` where one id stands in two different rows.

    Copies of HAM10000 in the wild are oversampled in this way to 18,832 or 19,945 rows.
    """
    unique = table.drop_duplicates(ignore_index=True)
    twice = unique.loc[unique["image_id"].duplicated(), "image_id"]
    if not twice.empty:
        raise BadInput(
            f"image_id '{twice.iloc[0]}' stands in rows that contradict each other",
            where=where,
            remedy="keep one row for each image",
        )
    dropped = len(table) - len(unique)
    note = f"{dropped} repeated rows of {where} dropped: this copy was oversampled"
    return unique, [note] if dropped else []
