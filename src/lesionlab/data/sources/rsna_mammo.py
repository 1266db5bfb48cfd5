"""RSNA Screening Mammography Breast Cancer Detection (Kaggle, 2022): 54,706 views.

`train.csv` (its header is from code that reads it) and `train_images/<patient_id>/<image_id>.dcm`
(seen in a listing); converted copies are named `<patient_id>_<image_id>.png` (from memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesionlab.data import tables
from lesionlab.data.file_kinds import stem_of
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.sources.common import picture_reader
from lesionlab.data.sources.mammograms import sides, with_pictures
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

COLUMNS = ("site_id", "patient_id", "image_id", "laterality", "view", "cancer", "BIRADS",
           "machine_id")  # fmt: skip
CLASSES = ("no cancer", "cancer")


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a view; the label says whether its breast has cancer, the group is its patient."""
    name = common.one_table(tree, tree.with_columns(*COLUMNS), "train.csv")
    table, notes = common.read_table(tree, name, "image_id")
    rows, rejected, more = with_pictures(table, tree, name, lambda n: stem_of(n).split("_")[-1])
    if rows.empty:
        raise BadInput("none of the pictures that the table names was found", where=tree.origin,
                       remedy="give the folder that holds train.csv and train_images")  # fmt: skip
    cancer = tables.numbers(rows["cancer"], "cancer", name)
    if not cancer.isin([0, 1]).all():
        raise BadInput("the column cancer holds other values than 0 and 1", where=name)
    rows = common.standard(rows, {"age": "age"}, name).rename(
        columns={"BIRADS": "birads", "laterality": "side"}
    )
    rows = rows.assign(
        label=np.array(CLASSES, object)[cancer.astype(int)], side=sides(rows["side"]), site="breast"
    ).drop(columns="cancer")
    return Found(
        rows=rows,
        read=picture_reader(tree),
        classes=CLASSES,
        malignant=("cancer",),
        rejected=tuple(rejected),
        notes=(*notes, *more),
    )


SOURCE = Source(
    name="rsna-mammo",
    title="RSNA Screening Mammography Breast Cancer Detection",
    find=find,
    recognise=columns_test(*COLUMNS),
    licence="rules of the Kaggle competition: non-commercial research",
    citation="Carr et al.: RSNA Screening Mammography Breast Cancer Detection, Kaggle (2022)",
    modality="mammography",
    expected={"images": 54706, "patients": 11913},
    # What became known after the reading, and how the data were collected.
    forbidden=("biopsy", "invasive", "birads", "difficult_negative_case", "site_id", "machine_id"),
)
