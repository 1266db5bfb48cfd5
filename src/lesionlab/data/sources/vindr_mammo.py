"""VinDr-Mammo: 20,000 digital mammograms of 5,000 exams (Nguyen et al. 2023).

`breast-level_annotations.csv` (its header is from code that reads it) and
`images/<study_id>/<image_id>.dicom` (from memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.sources.common import picture_reader
from lesionlab.data.sources.mammograms import sides, with_pictures, without_label
from lesionlab.data.split_names import PARTS
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

COLUMNS = ("study_id", "series_id", "image_id", "laterality", "view_position", "breast_birads",
           "breast_density", "split")  # fmt: skip


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a view; the label is the BI-RADS assessment of its breast, the group its exam."""
    names = [n for n in tree.with_columns(*COLUMNS) if "finding_categories" not in tree.headers[n]]
    name = common.one_table(tree, names, "breast-level_annotations.csv")
    table, notes = common.read_table(tree, name, "image_id")
    rows, rejected, more = with_pictures(table, tree, name)
    if rows.empty:
        raise BadInput("none of the pictures that the table names was found", where=tree.origin,
                       remedy="give the folder that holds the table and images/")  # fmt: skip
    rows = pd.DataFrame({
        "image_id": rows["image_id"], "file": rows["file"], "label": rows["breast_birads"],
        "patient_id": rows["study_id"],
        "official_split": rows["split"].str.lower().map(PARTS).fillna(""),
        "side": sides(rows["laterality"]), "view": rows["view_position"],
        "density": rows["breast_density"].str.removeprefix("DENSITY").str.strip(),
        "site": "breast",
    })  # fmt: skip
    rows, bare = without_label(rows, name)
    return Found(
        rows=rows,
        read=picture_reader(tree),
        classes=tuple(sorted(set(rows["label"]))),
        rejected=(*rejected, *bare),
        notes=(*notes, *more, "labels are BI-RADS assessments and no diagnoses; each exam counts "
               "as a patient"),
    )  # fmt: skip


SOURCE = Source(
    name="vindr-mammo",
    title="VinDr-Mammo",
    find=find,
    recognise=columns_test(*COLUMNS, without=("finding_categories",)),
    licence="PhysioNet Restricted Health Data License 1.5.0",
    citation="Nguyen et al.: VinDr-Mammo: a large-scale benchmark dataset for computer-aided "
    "diagnosis in full-field digital mammography, Sci Data 10, 277 (2023)",
    modality="mammography",
    expected={"images": 20000, "patients": 5000},
)
