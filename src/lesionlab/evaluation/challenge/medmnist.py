"""MedMNIST's own scorer: AUC and accuracy of a result file against the labels of an `.npz`."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.challenge.tables import NUMBER, parse_numbers

Task = Literal["binary-class", "multi-class", "multi-label"]
PARTS = ("train", "val", "test")
CUT = 0.5


@dataclass(frozen=True)
class MedTable:
    """`truth` is (N, L) labels, `score` (N, C) as written, rows in the order of the data set."""

    task: Task
    truth: Ints
    score: Floats
    part: str

    @property
    def columns_truth(self) -> npt.NDArray[np.bool_]:
        """(N, K) truth of each column that is ranked."""
        if self.task == "multi-class":
            return np.asarray(self.truth == np.arange(self.score.shape[1]))
        return np.asarray(self.truth == 1)

    @property
    def columns_score(self) -> Floats:
        """(N, K) score of each column that is ranked."""
        return self.score[:, -1:] if self.task == "binary-class" else self.score

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each ranked column: the label's number."""
        first = 1 if self.task == "binary-class" else 0
        return tuple(f"label {first + k}" for k in range(self.columns_score.shape[1]))


def read_medmnist(truth: Path, prediction: Path) -> MedTable:
    """Read an `.npz` of MedMNIST (or a CSV `index,label...`) and a result file `index,score...`.

    The part (train, val, test) is read from the result's name, `{flag}_{part}...csv`, as the
    official evaluator does; else it is the test part. Raises `BadInput` where rows are missing,
    repeated or not numbers, the scores do not fit the labels, or one of several labels of an
    image is neither 0 nor 1.
    """
    part = part_of(prediction)
    labels = _npz_labels(truth, part) if truth.suffix == ".npz" else _indexed(truth)
    if not (np.isfinite(labels) & (labels >= 0) & (labels == np.floor(labels))).all():
        raise BadInput("a label is not a whole number from 0", where=str(truth))
    values = labels.astype(np.int64)
    _refuse_classes_among_several_labels(values, str(truth))
    score = _indexed(prediction)
    if len(score) != len(values):
        raise BadInput(
            f"{len(score)} rows, where the {part} part has {len(values)} images",
            where=str(prediction),
            remedy="one row an image; the part is read from the file's name",
        )
    return MedTable(_task(values, score, str(prediction)), values, score, part)


def part_of(prediction: Path) -> str:
    """The part that a result file's name states.

    >>> part_of(Path("breastmnist_224_val_[AUC]0.9_[ACC]0.8@run.csv"))
    'val'
    """
    for word in prediction.name.split("_")[1:3]:
        for part in PARTS:
            if word.startswith(part):
                return part
    return "test"


def _npz_labels(path: Path, part: str) -> Floats:
    name = f"{part}_labels"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels = np.asarray(arrays[name], np.float64)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except KeyError:
        raise BadInput(f"no array '{name}'", where=str(path)) from None
    except (TypeError, ValueError, OSError, zipfile.BadZipFile):  # TypeError: of an .npy
        raise BadInput("not a readable .npz", where=str(path)) from None
    if not labels.ndim or not labels.size:
        raise BadInput(f"array '{name}' has no labels", where=str(path))
    return labels.reshape(len(labels), -1)


def _indexed(path: Path) -> Floats:
    """(N, C) numbers of a CSV without header whose first column is the index 0 .. N-1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (UnicodeDecodeError, csv.Error):
        raise BadInput("not a UTF-8 CSV", where=str(path)) from None
    if rows and not any(NUMBER.fullmatch(c) for c in rows[0]):
        rows = rows[1:]  # a header, which the official files do not have
    if not rows or len(rows[0]) < 2:
        raise BadInput("no rows 'index,value...'", where=str(path))
    for n, row in enumerate(rows, 1):
        wrong = [c for c in row if not NUMBER.fullmatch(c)]
        if wrong or len(row) != len(rows[0]):
            what = f"'{wrong[0]}' is not a number" if wrong else f"{len(row)} fields"
            raise BadInput(f"row {n}: {what}", where=str(path))
    table = np.column_stack([parse_numbers(list(column)) for column in zip(*rows, strict=True)])
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (table[:, 0] != np.arange(len(table))).any():
        raise BadInput(
            "the indices are not 0, 1, ..., each once", where=str(path), remedy="one row an image"
        )
    return table[:, 1:]


def _refuse_classes_among_several_labels(labels: Ints, where: str) -> None:
    """Several labels of an image are absent (0) or present (1): a 2 would be read as absent."""
    if labels.shape[1] < 2 or labels.max() <= 1:
        return
    row, column = np.argwhere(labels > 1)[0]
    raise BadInput(
        f"index {row}, label {column}: the value is {labels[row, column]}, and one of several "
        "labels is 0 or 1",
        where=where,
        remedy="write 1 where the image has the label, else 0; a class number stands alone",
    )


def _task(labels: Ints, score: Floats, where: str) -> Task:
    width, highest = score.shape[1], int(labels.max())
    if labels.shape[1] > 1:
        if width != labels.shape[1]:
            raise BadInput(f"{width} scores a row, {labels.shape[1]} labels", where=where)
        return "multi-label"
    if width <= 2 and highest <= 1:
        return "binary-class"
    if width <= highest:
        raise BadInput(f"{width} scores a row, but label {highest} occurs", where=where)
    return "multi-class"


def score_medmnist(table: MedTable) -> tuple[float, float, tuple[str, ...]]:
    """AUC (mean over the columns), accuracy, and notes.

    Binary and multi-label decisions are `> 0.5`; of several classes the highest, the first of
    tied ones. Raises `BadInput` where a label is absent, or the only one: no AUC.
    """
    truth, score = table.columns_truth, table.columns_score
    areas = [metrics.roc_auc(t, s) for t, s in zip(truth.T, score.T, strict=True)]
    undefined = [name for name, a in zip(table.names, areas, strict=True) if np.isnan(a)]
    if undefined:
        raise BadInput(
            f"{undefined[0]} is absent from the {table.part} part, or the only one: no AUC"
        )
    if table.task == "multi-class":
        accuracy = float((score.argmax(axis=1) == table.truth[:, 0]).mean())
    else:
        accuracy = float(((score > CUT) == truth).mean(axis=0).mean())
    notes = []
    if table.task != "multi-class" and ((score < 0) | (score > 1)).any():
        notes.append("scores lie outside [0, 1]: accuracy at > 0.5 supposes probabilities")
    return float(np.mean(areas)), accuracy, tuple(notes)
