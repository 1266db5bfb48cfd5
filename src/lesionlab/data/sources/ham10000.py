"""HAM10000: 10,015 dermoscopy images of 7,470 lesions, seven classes (Tschandl et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesionlab.data import tables
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.tree import Tree

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
COUNTS = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of the metadata table, each with its image from whichever folder holds it."""
    names = tree.named(r"HAM10000_metadata(\.csv|\.tab|\.txt)?") or tree.with_columns(*COLUMNS)
    name = common.one_table(tree, names, "HAM10000_metadata.csv")
    table, notes = common.read_table(tree, name, "image_id")
    tables.need_columns(table, COLUMNS, name)
    common.check_labels(table["dx"], CLASSES, name)
    table, rejected, left_out = common.match_images(table, tree, name, ignore=r"_segmentation$")
    columns = {"label": "dx", "site": "localization", "age": "age", "sex": "sex"}
    return Found(
        rows=common.standard(table, columns, name),
        read=tree.read,
        classes=CLASSES,
        malignant=MALIGNANT,
        rejected=tuple(rejected),
        notes=(*notes, *left_out),
    )


SOURCE = Source(
    name="ham10000",
    title="HAM10000",
    find=find,
    recognise=columns_test("lesion_id", "image_id", "dx", "dx_type", "localization"),
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5, 180161 (2018)",
    expected={"images": 10015, "lesions": 7470, "classes": COUNTS},
    # Every follow_up is a nevus and every melanoma histo: dx_type is the label in disguise.
    forbidden=("dx_type", "dataset"),
)
