"""What a source is: one function from a tree to rows, and what is known about its data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lesionlab.data.tree import Tree
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
    bytes; several rows (regions) may share it. Optional columns: `mask_file` names a lesion
    mask, `official_split` the part that the set's makers gave, `twin_group` what is known to be
    the same picture.
    """

    rows: pd.DataFrame
    read: Callable[[str], bytes]
    classes: tuple[str, ...]
    malignant: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    expected: Mapping[str, Any] | None = None  # replaces the source's own counts
    modality: str = ""  # replaces the source's own
    forbidden: tuple[str, ...] = ()  # adds to the source's own


@dataclass(frozen=True)
class Source:
    """A data set that can be imported: `find(tree, options)` and the facts about it.

    `recognise(tree)` says in a few words why a tree is this data set, or "" where it is not.
    `expected` holds the published counts: `images`, `rows`, `lesions`, `patients`, `classes`.
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


def columns_test(*columns: str, without: tuple[str, ...] = ()) -> Callable[[Tree], str]:
    """A `recognise` for sets with a table that has all of `columns` and none of `without`."""

    def recognise(tree: Tree) -> str:
        for name in tree.with_columns(*columns):
            if not set(without) & set(tree.headers[name]):
                return f"{name} has the columns {', '.join(columns[:5])}"
        return ""

    return recognise
