"""Patients that only the path of an image names: a folder for each, or a part of the file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from lesionlab.data.file_kinds import stem_of
from lesionlab.data.sources.base import Found
from lesionlab.data.sources.common import is_container, part_word
from lesionlab.errors import BadInput, counted

FOLDER = "folder"
FEWEST = 4  # folders; fewer are no list of patients
MOST_OF_ALL = 0.25  # share of the images in one folder
MOST_PARENTS = 3  # of folders of one name: "40X" lies in the folder of every patient
COPY = re.compile(r"^(.+)\.rf\.[0-9A-Za-z]{8,}\.\w+$")
BY_NAME = r"([^/]+)[_-][^/_-]+$"


def with_patients(found: Found, how: str) -> Found:
    """`found` with `patient_id` from the path, where the source itself names none.

    `how` is "folder" (the level of folders that looks like patients) or a regular expression,
    searched in the path within the source; its first group, else the whole match, is the id.
    Raises `BadInput` where no level fits, or the expression is none or matches nothing.
    """
    if not how or found.rows.empty:
        return found
    files = [str(f) for f in found.rows["file"]]
    ids = _by_folder(files, found) if how == FOLDER else _by_expression(files, how)
    known = found.rows.get("patient_id", pd.Series("", found.rows.index)).astype(str)
    merged = known.where(known != "", pd.Series(ids, found.rows.index))
    n = merged[merged != ""].nunique()
    lost = int((merged == "").sum())
    note = f"patients from {'the folders' if how == FOLDER else 'the file names'}: "
    note += f"{counted(n, 'patient')} such as '{next(i for i in merged if i)}'"
    note += f"; {counted(lost, 'image')} without one" if lost else ""
    return replace(found, rows=found.rows.assign(patient_id=merged), notes=(*found.notes, note))


def _by_folder(files: Sequence[str], found: Found) -> list[str]:
    labels = list(found.rows["label"])
    levels = levels_of(files)
    for strict in (True, False):
        for names in levels:
            if _looks_like_patients(names, files, labels, strict=strict):
                return names
    raise BadInput(
        "no level of folders looks like patients (many folders, few images in each)",
        where="--patient-from folder",
        remedy=f"give a regular expression of the id in a path such as '{files[0]}', "
        'for example --patient-from "([A-Z]+[0-9]+)"',
    )


def _by_expression(files: Sequence[str], how: str) -> list[str]:
    try:
        pattern = re.compile(how)
    except re.error as error:
        raise BadInput(
            f"'{how}' is no regular expression ({error})",
            where="--patient-from",
            remedy="give 'folder' or an expression such as \"(P[0-9]+)_\"",
        ) from None
    hits = [pattern.search(f) for f in files]
    ids = [(hit.group(1) if pattern.groups else hit.group()) or "" if hit else "" for hit in hits]
    if not any(ids):
        raise BadInput(
            f"'{how}' matches no path, the first is '{files[0]}'", where="--patient-from"
        )
    return ids


def levels_of(files: Sequence[str]) -> list[list[str]]:
    """For each depth, the folder of each image there, "" where its path is shorter."""
    paths = [f.split("/")[:-1] for f in files]
    deepest = max(map(len, paths), default=0)
    return [[p[d] if len(p) > d else "" for p in paths] for d in range(deepest)]


def _looks_like_patients(
    names: Sequence[str], files: Sequence[str], labels: Sequence[str], *, strict: bool = True
) -> bool:
    """Many folders with few images each, most with a digit in the name, and none in every other."""
    counts = pd.Series([n for n in names if n]).value_counts()
    if sum(counts) < 0.9 * len(names) or len(counts) <= len(set(labels)):
        return False
    if all(part_word(n) or is_container(n) or n in set(labels) for n in counts.index):
        return False
    depth = next((d for d, level in enumerate(levels_of(files)) if level == list(names)), 0)
    parents = {tuple(f.split("/")[: depth + 1]) for f in files}
    if len(parents) > MOST_PARENTS * len(counts):
        return False
    if not strict:
        return True
    return _numbered_few(counts, max(MOST_OF_ALL * len(names), 2)) and len(counts) < len(names)


def _numbered_few(counts: pd.Series, most: float) -> bool:
    """Several names, most of them with a digit, and none of more than `most` images."""
    numbered = sum(any(c.isdigit() for c in n) for n in counts.index)
    enough = len(counts) >= FEWEST and numbered >= 0.8 * len(counts)
    return bool(enough and counts.max() <= most)


def with_twins(found: Found) -> Found:
    """`found` with Roboflow's augmented copies of one picture (`x.rf.<hash>.jpg`) kept together."""
    rows = found.rows
    if rows.empty or "twin_group" in rows:
        return found
    hits = [COPY.search(str(f).rsplit("/", 1)[-1]) for f in rows["file"]]
    groups = [hit.group(1) if hit else "" for hit in hits]
    if len(set(groups) - {""}) == sum(g != "" for g in groups):
        return found
    note = "augmented copies of one picture (.rf. in their names) are kept together"
    return replace(found, rows=rows.assign(twin_group=groups), notes=(*found.notes, note))


def offered(found: Found) -> list[str]:
    """One line where folders or file names look like patients and nobody named any."""
    rows = found.rows
    if rows.empty or ("patient_id" in rows and (rows["patient_id"].astype(str) != "").any()):
        return []
    files, labels = [str(f) for f in rows["file"]], list(rows["label"])
    for names in levels_of(files):
        if _looks_like_patients(names, files, labels):
            n, first = len(set(names) - {""}), next(n for n in names if n)
            return [f"{n} folders such as '{first}' look like patients: --patient-from folder "
                    "keeps the images of each together"]  # fmt: skip
    hits = [re.search(BY_NAME, stem_of(f)) for f in files]
    stems = [hit.group(1) if hit else f for f, hit in zip(files, hits, strict=True)]
    if _looks_like_patients(stems, [f"{s}/x" for s in stems], labels) and _mostly_shared(stems):
        return [f"file names such as '{files[0].rsplit('/', 1)[-1]}' may begin with a patient: "
                f'--patient-from "{BY_NAME}" keeps the images of each together']  # fmt: skip
    return []


def _mostly_shared(names: Sequence[str]) -> bool:
    counts = pd.Series(list(names)).value_counts()
    return int(counts[counts > 1].sum()) >= 0.8 * len(names)


def look_like_patients(labels: Sequence[str]) -> bool:
    """Whether class folders look like patients: many, few images each, digits in their names.

    >>> look_like_patients(["P01", "P01", "P02", "P03", "P03", "P04", "P05", "P06"])
    True
    >>> look_like_patients(["benign", "malignant"] * 4)
    False
    """
    return _numbered_few(pd.Series(list(labels)).value_counts(), MOST_OF_ALL * len(labels))
