"""HAM10000: 10,015 dermoscopy images of 7,470 lesions, seven classes (Tschandl et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data import tables
from lesionlab.data.archive import Tree
from lesionlab.data.sources.base import Found, Source, match_images, without_repeats
from lesionlab.errors import BadInput, nearest

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
COUNTS = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of the metadata table, each with its image from whichever folder holds it."""
    name = metadata_table(tree)
    table, notes = tables.read_csv(tree.read(name), name)
    tables.need_columns(table, COLUMNS, name)
    table["image_id"], more = tables.clean_ids(table["image_id"], name)
    table, repeats = without_repeats(table, name)
    check_labels(table["dx"], CLASSES, name)
    table, rejected, left_out = match_images(table, tree, name)
    rows = table.rename(columns={"dx": "label", "localization": "site"}).assign(
        age=tables.numbers(table["age"], "age", name),
        sex=tables.sexes(table["sex"]),
        site=tables.blank_unknown(table["localization"]),
    )
    return Found(
        rows=rows,
        read=tree.read,
        classes=CLASSES,
        malignant=MALIGNANT,
        rejected=tuple(rejected),
        notes=(*notes, *more, *repeats, *left_out),
    )


def metadata_table(tree: Tree) -> str:
    """The name of the one table whose header is that of HAM10000's metadata."""
    named = tree.named(r"HAM10000_metadata(\.csv|\.tab|\.txt)?") or [
        n for n in tree.ending(".csv", ".tab") if _is_header(tree, n)
    ]
    if not named:
        raise BadInput(
            "no HAM10000_metadata.csv",
            where=tree.origin,
            remedy="give the whole download, or use: lesionlab import folder",
        )
    if len({tree.read(n) for n in named}) > 1:
        raise BadInput(
            f"two metadata tables, '{named[0]}' and '{named[1]}'",
            where=tree.origin,
            remedy="keep one of them",
        )
    return named[0]


def recognise(tree: Tree) -> str:
    """Why a tree is HAM10000, or ""."""
    for name in tree.ending(".csv", ".tab"):
        if _is_header(tree, name):
            return f"{name} has the columns lesion_id, image_id, dx and dx_type"
    return ""


def _is_header(tree: Tree, name: str) -> bool:
    first = tree.read(name)[:400].split(b"\n", 1)[0].decode("latin-1")
    return all(c in first for c in ("lesion_id", "image_id", "dx", "dx_type", "localization"))


def check_labels(labels: pd.Series, classes: tuple[str, ...], where: str) -> None:
    """Raise `BadInput` for the first label that is no class, with its row and the nearest class."""
    odd = labels[~labels.isin(classes)]
    if not odd.empty:
        raise BadInput(
            f"label '{odd.iloc[0]}' of row {int(odd.index[0]) + 2} is not a class",
            where=where,
            remedy=nearest(odd.iloc[0], classes),
        )


SOURCE = Source(
    name="ham10000",
    title="HAM10000",
    find=find,
    recognise=recognise,
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5, 180161 (2018)",
    expected={"images": 10015, "lesions": 7470, "classes": COUNTS},
    # Every follow_up is a nevus and every melanoma histo: dx_type is the label in disguise.
    forbidden=("dx_type", "dataset"),
)
