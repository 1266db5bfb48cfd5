"""Predictions in other software's columns, read into ours; every reading is said.

Found by their names, whatever the case: the image, the label, patient and lesion, and the
probabilities: a prefix before the class (`p_mel`, `score_mel`), plain class names that the
taxonomy knows (`MEL`, `melanoma`), or for two classes a single column of the positive one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data import tables
from lesionlab.data.taxonomy import counterparts, diagnosis
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.predictions import (
    Predictions,
    from_table,
    read_predictions,
    without_absent_ids,
)

# our column -> what others call it; "image id", "Image_ID" and "imageId" are one name
NAMES = {
    "image_id": (
        "image_id", "image", "isic_id", "image_name", "id", "img_id", "img", "filename",
        "file_name", "file", "path", "filepath", "image_path",
    ),
    "label": (
        "label", "y_true", "truth", "target", "true_label", "true", "ground_truth", "gt",
        "diagnosis", "dx", "class", "y",
    ),
    "patient_id": ("patient_id", "patient", "subject_id", "subject", "pid"),
    "lesion_id": ("lesion_id", "lesion"),
}  # fmt: skip
PREFIX = re.compile(
    r"^(?:probability|proba|prob|softmax|score|conf|confidence|pred|p)[ _.:(\[-]+(.+?)[)\]]?$", re.I
)
ONE = ("prob", "proba", "probability", "y_prob", "y_score", "score", "p", "y_pred_proba", "risk")
MALIGNANT_ONE = ("malignant", "p_malignant", "prob_malignant", "malignancy")


def read_any(path: Path) -> tuple[Predictions, tuple[str, ...]]:
    """A predictions CSV in our columns, or in another software's; and how it was read.

    Ids of patients and lesions that say "nan", "NA" and the like are not known, and said.
    Raises `BadInput` as `read_predictions` does, and where the image's column or the
    probabilities cannot be told, or two columns answer to one name.
    """
    found, notes = _read(path)
    found, absent = without_absent_ids(found)
    return found, (*notes, *absent)


def _read(path: Path) -> tuple[Predictions, tuple[str, ...]]:
    try:
        table, odd = tables.read_csv(path.read_bytes(), str(path))
    except OSError:
        return read_predictions(path), ()  # says what is wrong with the file
    renamed = _ids(table, path)
    ours = "image_id" in table.columns and sum(c.startswith("prob_") for c in table.columns) > 1
    if ours and all(theirs == name for theirs, name in renamed.items()):
        return read_predictions(path), tuple(odd)
    rest = [c for c in table.columns if c not in renamed]
    probabilities = _prefixed(rest) or _single(table, rest, renamed) or _known(table, rest)
    if not probabilities:
        raise BadInput(
            "no column of probabilities can be told",
            where=str(path),
            remedy="name them prob_<class>, e.g. prob_mel,prob_nv",
        )
    named = table.rename(columns=renamed | probabilities)
    pairs = [f"'{a}' as {b}" for a, b in (renamed | probabilities).items() if a != b]
    notes = [f"columns read: {', '.join(pairs)}"] if pairs else []
    if len(probabilities) == 1:
        notes.append(_complete(named, next(iter(probabilities.values())), path))
    unused = [c for c in rest if c not in probabilities and not c.startswith("logit_")]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    notes += _words(named)
    return from_table(named, path), tuple(odd + notes)


def _plain(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[ .-]+", "_", spaced).casefold()


def _ids(table: pd.DataFrame, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for ours, words in NAMES.items():
        named = [c for c in table.columns if _plain(c) in words]
        best = sorted(named, key=lambda c: words.index(_plain(c)))[:1]
        if ours == "image_id" and not best:
            raise BadInput(
                "column 'image_id' is missing",
                where=str(path),
                remedy=nearest("image_id", list(table.columns)),
            )
        found |= dict.fromkeys(best, ours)
    return found


def _prefixed(rest: Sequence[str]) -> dict[str, str]:
    """At least two columns with a prefix: `p_mel` as `prob_mel`."""
    found = {c: m.group(1) for c in rest if (m := PREFIX.match(c))}
    return {c: f"prob_{name}" for c, name in found.items()} if len(found) > 1 else {}


def _known(table: pd.DataFrame, rest: Sequence[str]) -> dict[str, str]:
    """Columns of numbers whose names are diagnoses."""
    known = [c for c in rest if diagnosis(c) is not None and _is_numeric(table[c])]
    return {c: f"prob_{c}" for c in known} if len(known) > 1 else {}


def _single(table: pd.DataFrame, rest: Sequence[str], renamed: dict[str, str]) -> dict[str, str]:
    """One column for two classes, named by what the labels or the column say."""
    found = [c for c in rest if _plain(c) in (*ONE, *MALIGNANT_ONE) and _is_numeric(table[c])]
    if len(found) != 1:
        return {}
    if _plain(found[0]) in MALIGNANT_ONE:
        return {found[0]: "prob_malignant"}
    label = next((c for c, ours in renamed.items() if ours == "label"), None)
    said = set() if label is None else set(table[label]) - {""}
    return {found[0]: "prob_malignant" if "malignant" in said else "prob_positive"}


def _is_numeric(column: pd.Series) -> bool:
    numbers = pd.to_numeric(column.str.replace(",", "."), errors="coerce")
    return bool(numbers.notna().mean() > 0.5)  # a bad cell is named later, with its row


def _complete(table: pd.DataFrame, column: str, path: Path) -> str:
    """The other class of two, in place: 1 - p; and 0/1 labels by name."""
    other = {"prob_malignant": "benign", "prob_positive": "negative"}[column]
    one = column.removeprefix("prob_")
    numbers = pd.to_numeric(table[column].str.replace(",", "."), errors="coerce")
    bad = np.flatnonzero(~np.isfinite(numbers.to_numpy("float64")))
    if len(bad):
        raise BadInput(
            f"'{table[column].iloc[bad[0]]}' in row {int(bad[0]) + 2} is not a finite number",
            where=str(path),
            remedy="write numbers such as 0.25",
        )
    table.insert(table.columns.get_loc(column), f"prob_{other}", (1 - numbers).map(repr))
    if "label" in table.columns:
        words = {"0": other, "1": one, "0.0": other, "1.0": one, "false": other, "true": one}
        table["label"] = table["label"].map(lambda v: words.get(v.casefold(), v))
    return f"two classes: '{one}' with that probability, '{other}' with 1 minus it"


def _words(table: pd.DataFrame) -> list[str]:
    """Labels that mean a class by another word (`melanoma` for `MEL`), in place; said."""
    if "label" not in table.columns:
        return []
    classes = [c.removeprefix("prob_") for c in table.columns if c.startswith("prob_")]
    folded = {c.casefold() for c in classes}
    strange = sorted({v for v in table["label"] if v and v.casefold() not in folded})
    found = {a: b for a, b in counterparts(strange, classes).items() if b is not None}
    table["label"] = table["label"].map(lambda v: found.get(v, v))
    return [f"label '{a}' read as '{b}'" for a, b in found.items()]
