"""DICOM files in a folder per class; pixels become PNG, patients get new numbers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lesionlab.data.dicom import DicomHeader, age_in_years, read_dicom_header
from lesionlab.data.images import UnreadableImage
from lesionlab.data.placeholder_ids import known_patients
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.common import picture_reader
from lesionlab.data.sources.folder import malignant_classes, placing, unique_ids
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted

DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
RAW, PRESENTED = "FOR PROCESSING", "FOR PRESENTATION"
INTENT_WORDS = r"[-_ ]*(for[-_ ]*)?(pres(entation|ented)?|proc(essing)?|raw)(?![a-z])"


@dataclass(frozen=True)
class DicomFile:
    """One picture of the tree: its name, its place and its header."""

    name: str
    part: str
    label: str
    header: DicomHeader


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a DICOM file; the label is its class folder, the group its patient.

    Patients are numbered within this import: their ids are read for that, and never kept. Of a
    view that is there FOR PROCESSING and FOR PRESENTATION the latter is kept.
    """
    place = placing([n.split("/")[:-1] for n in tree.dicoms])
    files, rejected, others = _headers(tree, {n: place(n.split("/")[:-1]) for n in tree.dicoms})
    if not files:
        raise BadInput(
            "no readable DICOM files in class folders",
            where=tree.origin,
            remedy=rejected[0].reason if rejected else "the layout is SRC/<class>/*",
        )
    ids = pd.Series([f.header.identity.patient for f in files])
    patients, warnings = known_patients(ids, "PatientID")
    kept, intents = _one_of_each_view(files, list(patients))
    files, patients = [files[i] for i in kept], patients.iloc[kept]
    table = _table(files, list(patients))
    classes = tuple(sorted(set(table["label"])))
    given = tuple(t.strip() for t in str(options.get("malignant") or "").split(",") if t.strip())
    return Found(
        rows=table,
        read=picture_reader(tree),
        classes=classes,
        malignant=malignant_classes(classes, given),
        rejected=tuple(rejected),
        notes=(*others, *intents, *warnings, *_studies(table), *_warnings(table, ids)),
        modality="mammography" if set(table["modality"]) == {"MG"} else "",
        forbidden=("burned_in", "intent"),
    )


def _headers(
    tree: Tree, places: Mapping[str, tuple[str, str]]
) -> tuple[list[DicomFile], list[Rejected], list[str]]:
    files, rejected, others = [], [], Counter[str]()
    for name, (part, label) in places.items():
        try:
            header = read_dicom_header(tree.read(name), name)
        except UnreadableImage as error:
            rejected.append(Rejected(name, error.advice))
            continue
        if not header.is_picture:
            others[header.tags["Modality"] or "no modality"] += 1
        elif not label:
            rejected.append(Rejected(name, "lies in no class folder"))
        else:
            files.append(DicomFile(name, part, label, header))
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(others.items()))
    n = sum(others.values())
    said = f"{counted(n, 'DICOM file holds', 'DICOM files hold')} no picture ({kinds}): left out"
    return files, rejected, [said][:n]


def _one_of_each_view(
    files: Sequence[DicomFile], patients: Sequence[str]
) -> tuple[list[int], list[str]]:
    """The positions of the files to keep, and what is said about raw pictures."""
    intents = [f.header.tags["PresentationIntentType"].upper() for f in files]
    shown = [i for i, intent in enumerate(intents) if intent != RAW]
    sources = {uid for i in shown for uid in files[i].header.identity.made_from if uid}
    views = {_view(files[i], patients[i]) for i in shown if intents[i] == PRESENTED}
    raw = [i for i, intent in enumerate(intents) if intent == RAW]
    spare = {
        i
        for i in raw
        if files[i].header.identity.instance in sources or _view(files[i], patients[i]) in views
    }
    notes = [
        f"{counted(len(spare), 'image is', 'images are')} {RAW} and left out: the same view is "
        f"there {PRESENTED}"
    ][: len(spare)]
    rest = len(raw) - len(spare)
    others = f"the other {len(shown)} are not: train on one kind only" * bool(shown)
    notes += [
        f"WARNING: {counted(rest, 'image is', 'images are')} {RAW}, raw detector data that looks "
        f"unlike what is read on a screen; {others or 'there are no others'}"
    ][:rest]
    return [i for i in range(len(files)) if i not in spare], notes


def _view(file: DicomFile, patient: str) -> tuple[str, ...]:
    """What two files of one view share; where nothing else is known, their names without intent."""
    tags, study = file.header.tags, file.header.identity.study
    side, view = tags["ImageLaterality"] or tags["Laterality"], tags["ViewPosition"]
    if (patient or study) and (side or view):
        return file.label, patient, study, side, view
    plain = re.sub(INTENT_WORDS, "", file.name, flags=re.IGNORECASE)
    return file.label, plain


def _table(files: Sequence[DicomFile], patients: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"file": f.name, "label": f.label, "official_split": f.part, **_told(f.header.tags)}
        for f in files
    ]
    table = pd.DataFrame(rows).assign(patient_id=numbered(patients, "DCM"))
    names = [f.name if f.name.lower().endswith(DICOM_SUFFIXES) else f"{f.name}.dcm" for f in files]
    table["image_id"] = unique_ids(names)
    studies = [f.header.identity.study for f in files]
    alone = [study if not patient else "" for study, patient in zip(studies, patients, strict=True)]
    if len(set(alone) - {""}) > 1:  # the patient is unknown: at least a study stays together
        table["twin_group"] = numbered(alone, "STUDY")
    for column in ("official_split", "intent"):
        if (table[column] == "").all():
            table = table.drop(columns=column)
    return table


def _told(tags: Mapping[str, str]) -> dict[str, str]:
    return {
        "age": age_in_years(tags["PatientAge"]),
        "sex": {"F": "female", "M": "male"}.get(tags["PatientSex"], ""),
        "site": tags["BodyPartExamined"].lower(),
        "side": {"L": "left", "R": "right"}.get(tags["ImageLaterality"] or tags["Laterality"], ""),
        "view": tags["ViewPosition"],
        "modality": tags["Modality"],
        "burned_in": tags["BurnedInAnnotation"].lower(),
        "intent": tags["PresentationIntentType"].lower(),
    }


def numbered(ids: Sequence[str], prefix: str) -> list[str]:
    """`DCM_0001` ... by the order of a digest, which says nothing about the ids; "" stays."""
    known = sorted({p for p in ids if p}, key=lambda p: hashlib.sha256(p.encode()).digest())
    number = {p: f"{prefix}_{n:04d}" for n, p in enumerate(known, 1)}
    return [number.get(p, "") for p in ids]


def _studies(table: pd.DataFrame) -> list[str]:
    if "twin_group" not in table:
        return []
    n = table.loc[table["twin_group"] != "", "twin_group"].nunique()
    return [
        f"images without a patient are kept together by study: {counted(n, 'study', 'studies')}"
    ]


def _warnings(table: pd.DataFrame, patients: pd.Series) -> tuple[str, ...]:
    burned = int((table["burned_in"] == "yes").sum())
    silent = int((table["burned_in"] == "").sum())
    lost = int((patients == "").sum())
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
    """Why a tree is a folder of DICOM files, or "", as where a table tells their labels."""
    folders = [n.split("/")[:-1] for n in tree.dicoms]
    place = placing(folders)
    if tree.tables and len({place(path)[1] for path in folders} - {""}) < 2:
        return ""
    return f"{tree.dicoms[0]} is a DICOM file" if tree.dicoms else ""


SOURCE = Source(
    name="dicom",
    title="a folder of DICOM files per class",
    find=find,
    recognise=recognise,
    modality="unknown",
    options={"malignant": None},
)
