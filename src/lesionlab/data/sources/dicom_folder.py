"""DICOM files in a folder per class; pixels become PNG, patients get new numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data.archive import Tree
from lesionlab.data.dicom import DicomImage, age_in_years, is_dicom, read_dicom
from lesionlab.data.images import UnreadableImage
from lesionlab.data.regions import png
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.folder import malignant_classes, placing, unique_ids
from lesionlab.errors import BadInput, counted


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a DICOM file; the label is its class folder, the group its patient.

    Patients are numbered within this import: their ids are read for that, and never kept.
    """
    names = dicom_names(tree)
    place = placing([n.split("/")[:-1] for n in names])
    rows, rejected, patients = [], [], []
    for name in names:
        part, label = place(name.split("/")[:-1])
        if not label:
            rejected.append(Rejected(name, "lies in no class folder"))
            continue
        try:
            read = read_dicom(tree.read(name), name, grouping=True)
        except UnreadableImage as error:
            rejected.append(Rejected(name, error.reason))
            continue
        rows.append({"file": name, "label": label, "official_split": part, **_told(read)})
        patients.append(read.patient)
    if not rows:
        raise BadInput(
            "no readable DICOM files in class folders",
            where=tree.origin,
            remedy=rejected[0].reason if rejected else "the layout is SRC/<class>/*",
        )
    table = pd.DataFrame(rows).assign(patient_id=_numbered(patients))
    table["image_id"] = unique_ids([f"{n}.dcm" if "." not in n else n for n in table["file"]])
    if (table["official_split"] == "").all():
        table = table.drop(columns="official_split")
    classes = tuple(sorted(set(table["label"])))
    given = tuple(t.strip() for t in str(options.get("malignant") or "").split(",") if t.strip())
    return Found(
        rows=table,
        read=lambda name: png(read_dicom(tree.read(name), name).image),
        classes=classes,
        malignant=malignant_classes(classes, given),
        rejected=tuple(rejected),
        notes=_warnings(table, patients),
        modality="mammography" if set(table["modality"]) == {"MG"} else "",
        forbidden=("burned_in",),
    )


def dicom_names(tree: Tree) -> list[str]:
    """The files that are DICOM by their content; `DICOMDIR` and its references are not followed."""
    named = [n for n in tree.names if n.lower().endswith((".dcm", ".dicom")) or "." not in n]
    return [n for n in named if not n.upper().endswith("DICOMDIR") and is_dicom(tree.read(n))]


def _told(read: DicomImage) -> dict[str, str]:
    tags = read.tags
    return {
        "age": age_in_years(tags["PatientAge"]),
        "sex": {"F": "female", "M": "male"}.get(tags["PatientSex"], ""),
        "site": tags["BodyPartExamined"].lower(),
        "side": {"L": "left", "R": "right"}.get(tags["ImageLaterality"] or tags["Laterality"], ""),
        "view": tags["ViewPosition"],
        "modality": tags["Modality"],
        "burned_in": tags["BurnedInAnnotation"].lower(),
    }


def _numbered(patients: list[str]) -> list[str]:
    """`DCM_0001` ... by the order of a digest, which says nothing about the ids."""
    known = sorted({p for p in patients if p}, key=lambda p: hashlib.sha256(p.encode()).digest())
    number = {p: f"DCM_{n:04d}" for n, p in enumerate(known, 1)}
    return [number.get(p, "") for p in patients]


def _warnings(table: pd.DataFrame, patients: list[str]) -> tuple[str, ...]:
    burned = int((table["burned_in"] == "yes").sum())
    silent = int((table["burned_in"] == "").sum())
    lost = sum(not p for p in patients)
    return (
        *[
            f"WARNING: {counted(burned, 'image declares', 'images declare')} burned-in text, "
            "which may name people"
        ][:burned],
        *[
            f"{counted(silent, 'image does', 'images do')} not say whether burned-in text is "
            "there: look at some"
        ][:silent],
        *[
            f"{counted(lost, 'image carries', 'images carry')} no patient id: each counts as a "
            "patient of its own"
        ][:lost],
    )


def recognise(tree: Tree) -> str:
    """Why a tree is a folder of DICOM files, or ""."""
    names = [n for n in tree.names if n.lower().endswith((".dcm", ".dicom"))][:3]
    return f"{names[0]} is a DICOM file" if names and is_dicom(tree.read(names[0])) else ""


SOURCE = Source(
    name="dicom",
    title="a folder of DICOM files per class",
    find=find,
    recognise=recognise,
    modality="unknown",
    options={"malignant": None},
)
