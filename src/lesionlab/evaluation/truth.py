"""A truth table laid beside predictions: every row is matched, or the error says which."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.data import tables
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.foreign import NAMES
from lesionlab.evaluation.predictions import Predictions, label_numbers

ID_NAMES = ("image_id", "image", "isic_id", "image_name", "id", "Id")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


def join_truth(predictions: Predictions, path: Path) -> Predictions:
    """The predictions with the labels (and patient and lesion ids, if given) of a truth CSV.

    The table holds one row an image: an id column and either `label` (or `dx`, `target`, ...: a
    class; blank = unknown) or one 0/1 column a class. A file suffix in an id (`.jpg`) is ignored
    on both sides. Raises `BadInput` for rows missing, extra or repeated, a label that is no
    class, and labels that contradict those already in the predictions.
    """
    table = _read(path)
    ids = [stem(v) for v in table[_id_column(table, path)]]
    _refuse_repeated(ids, path)
    wanted = [stem(v) for v in predictions.image_id]
    _refuse_repeated(wanted, Path("predictions"))
    _refuse_unmatched(wanted, ids, path)
    row = {name: i for i, name in enumerate(ids)}
    order = np.array([row[name] for name in wanted])
    y_true = _labels(table, predictions.classes, path)[order]
    _refuse_contradiction(predictions, y_true, path)
    found = {
        column: table[column].to_numpy(object)[order]
        for column in ("patient_id", "lesion_id")
        if column in table.columns
    }
    return dataclasses.replace(predictions, y_true=y_true, **found)


def stem(image_id: object) -> str:
    """An id without the suffix of an image file.

    >>> stem("ISIC_0024306.jpg"), stem("a.b")
    ('ISIC_0024306', 'a.b')
    """
    text = str(image_id)
    suffix = next((s for s in SUFFIXES if text.lower().endswith(s)), "")
    return text[: len(text) - len(suffix)]


def _read(path: Path) -> pd.DataFrame:
    try:
        table, _ = tables.read_csv(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None
    if "label" not in table.columns:
        named = [c for c in table.columns if c.casefold() in NAMES["label"]]
        table = table.rename(columns=dict.fromkeys(named[:1], "label"))
    return table


def _id_column(table: pd.DataFrame, path: Path) -> str:
    for name in ID_NAMES:
        if name in table.columns:
            return name
    raise BadInput(
        "column 'image_id' is missing",
        where=str(path),
        remedy=nearest("image_id", list(table.columns)),
    )


def _refuse_repeated(ids: list[str], path: Path) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise BadInput(f"image_id '{name}' is repeated", where=str(path))
        seen.add(name)


def _refuse_unmatched(wanted: list[str], ids: list[str], path: Path) -> None:
    missing, extra = sorted(set(wanted) - set(ids)), sorted(set(ids) - set(wanted))
    if missing:
        raise BadInput(
            f"{counted(len(missing), 'predicted image has', 'predicted images have')} no row, "
            f"the first is '{missing[0]}'",
            where=str(path),
            remedy="give the truth of every predicted image (a blank label = unknown)",
        )
    if extra:
        raise BadInput(
            f"{counted(len(extra), 'row has', 'rows have')} no prediction, the first is "
            f"'{extra[0]}'",
            where=str(path),
            remedy="predict every image: leaving some out changes every number",
        )


def _labels(table: pd.DataFrame, classes: tuple[str, ...], path: Path) -> np.ndarray:
    if "label" in table.columns:
        return label_numbers(table["label"], classes, path)
    absent = [c for c in classes if c not in table.columns]
    if absent:
        raise BadInput(
            f"neither a column 'label' nor a column '{absent[0]}'",
            where=str(path),
            remedy="write a column 'label', or one 0/1 column a class",
        )
    return _one_hot(table, classes, path)


def _one_hot(table: pd.DataFrame, classes: tuple[str, ...], path: Path) -> np.ndarray:
    values: Floats = np.stack(
        [pd.to_numeric(table[c], errors="coerce").to_numpy("float64") for c in classes], axis=1
    )
    bad = np.flatnonzero(~np.isin(values, (0.0, 1.0)).all(axis=1) | (values.sum(axis=1) != 1))
    if len(bad):
        raise BadInput(
            f"row {int(bad[0]) + 2} does not mark exactly one class with 1",
            where=str(path),
            remedy="each row holds one 1 and else 0",
        )
    return np.asarray(values.argmax(axis=1), np.int64)


def _refuse_contradiction(predictions: Predictions, y_true: np.ndarray, path: Path) -> None:
    known = (predictions.is_labelled) & (y_true >= 0)
    wrong = np.flatnonzero(known & (predictions.y_true != y_true))
    if len(wrong):
        row = int(wrong[0])
        before, now = (predictions.classes[k] for k in (predictions.y_true[row], y_true[row]))
        raise BadInput(
            f"'{predictions.image_id[row]}' is '{now}' here and '{before}' in the predictions",
            where=str(path),
            remedy="remove the wrong one",
        )
