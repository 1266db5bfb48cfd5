"""INbreast: 410 full-field digital mammograms (Moreira et al. 2012).

`INbreast.csv` has semicolons and "removed" for every patient (seen). The DICOM files are named
`<File Name>_<patient>_MG_<side>_<view>_ANON.dcm` (seen), so that the name tells the patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data.file_kinds import stem_of
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.sources.common import picture_reader
from lesionlab.data.sources.mammograms import sides, with_pictures, without_label
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

COLUMNS = ("File Name", "Laterality", "View", "ACR", "Bi-Rads")
PATIENT = re.compile(r"\d+_([0-9a-f]{8,})_MG_", re.IGNORECASE)


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a picture; the label is its BI-RADS assessment, the group its patient."""
    name = common.one_table(tree, tree.with_columns(*COLUMNS), "INbreast.csv")
    table, notes = common.read_table(tree, name, "File Name")
    rows, rejected, more = with_pictures(table, tree, name, lambda n: stem_of(n).split("_")[0])
    if rows.empty:
        raise BadInput("none of the pictures that the table names was found", where=tree.origin,
                       remedy="give the folder that holds INbreast.csv and AllDICOMs")  # fmt: skip
    patients = rows["file"].map(_patient)
    rows = pd.DataFrame({
        "image_id": rows["image_id"], "file": rows["file"], "label": rows["Bi-Rads"].str.lower(),
        "patient_id": patients, "side": sides(rows["Laterality"]), "view": rows["View"],
        "density": rows["ACR"], "site": "breast", "sex": "female",
    })  # fmt: skip
    rows, bare = without_label(rows, name)
    known = sorted(set(rows["label"]))
    low, high = (
        ",".join(c for c in known if (c[:1] in "123") == benign) for benign in (True, False)
    )
    return Found(
        rows=rows,
        read=picture_reader(tree),
        classes=tuple(known),
        rejected=(*rejected, *bare),
        notes=(
            *notes,
            *more,
            "labels are BI-RADS assessments and no diagnoses; often grouped as: "
            f"--map {low}=benign {high}=malignant",
            *["patients are unknown: pictures that kept the names of the DICOM files tell them"]
            * bool((rows["patient_id"] == "").all()),
        ),
    )


def _patient(name: str) -> str:
    """The patient in a file's name, "" where it is not there.

    >>> _patient("AllDICOMs/22678622_61b13c59bcba149e_MG_L_CC_ANON.dcm")
    '61b13c59bcba149e'
    """
    match = PATIENT.match(stem_of(name))
    return match[1].lower() if match else ""


SOURCE = Source(
    name="inbreast",
    title="INbreast",
    find=find,
    recognise=columns_test(*COLUMNS),
    licence="INbreast agreement: research only",
    citation="Moreira et al.: INbreast: toward a full-field digital mammographic database, "
    "Acad Radiol 19, 236-248 (2012)",
    modality="mammography",
    expected={"images": 410},
)
