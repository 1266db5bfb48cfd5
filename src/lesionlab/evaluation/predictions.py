"""The predictions artefact: one CSV, the only input of evaluation, from us or from anybody."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab import files
from lesionlab.array_types import Floats, Ints
from lesionlab.data import tables
from lesionlab.errors import BadInput, counted, nearest

ID_COLUMNS = ("image_id", "patient_id", "lesion_id", "label")
SUM_TOLERANCE = 1e-3  # of the probabilities of a row
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities of N images over K classes, with what is known of the truth.

    `y_true` is (N,) int64, -1 where the label is unknown. `y_prob` is (N, K) float64, rows
    summing to 1. `logits` is (N, K) float64 or None. `groups` is (N,) str: patient, else
    lesion, else image: the unit that is resampled.
    """

    image_id: npt.NDArray[np.object_]
    patient_id: npt.NDArray[np.object_]
    lesion_id: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    y_true: Ints
    y_prob: Floats
    logits: Floats | None = None

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def groups(self) -> npt.NDArray[np.object_]:
        """(N,) group of each image: patient, else lesion, else the image itself."""
        lesion = np.where(
            self.lesion_id == "", "image:" + self.image_id, "lesion:" + self.lesion_id
        )
        groups: npt.NDArray[np.object_] = np.where(
            self.patient_id == "", lesion, "patient:" + self.patient_id
        ).astype(object)
        return groups

    @property
    def group_unit(self) -> str:
        """The name of the unit that is resampled: "patient", "lesion", "image", or "mixed"."""
        kinds = {str(g).split(":", 1)[0] for g in self.groups}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def is_labelled(self) -> npt.NDArray[np.bool_]:
        """`(N,)`: the rows whose class is known."""
        return np.asarray(self.y_true >= 0)

    def labelled(self) -> Predictions:
        """The rows whose class is known, in their order."""
        return self.take(self.is_labelled)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Predictions:
        """The given rows, in the given order."""
        logits = None if self.logits is None else self.logits[rows]
        return Predictions(
            self.image_id[rows],
            self.patient_id[rows],
            self.lesion_id[rows],
            self.classes,
            self.y_true[rows],
            self.y_prob[rows],
            logits,
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the CSV atomically; numbers round-trip exactly (17 significant digits at most).

    A text that a spreadsheet would take for a formula gets a leading `'`, which
    `read_predictions` takes off again.
    """
    p = predictions
    names = np.array([*p.classes, ""], dtype=object)
    texts = (p.image_id, p.patient_id, p.lesion_id, names[p.y_true])
    columns: dict[str, object] = {
        column: [_guarded(str(v)) for v in values]
        for column, values in zip(ID_COLUMNS, texts, strict=True)
    }
    if p.logits is not None:
        columns |= {f"logit_{name}": p.logits[:, k] for k, name in enumerate(p.classes)}
    columns |= {f"prob_{name}": p.y_prob[:, k] for k, name in enumerate(p.classes)}
    buffer = io.StringIO()
    pd.DataFrame(columns).to_csv(buffer, index=False, lineterminator="\n")
    files.write_text(path, buffer.getvalue())


def _guarded(text: str) -> str:
    return "'" + text if text.lstrip("'").startswith(FORMULA) else text


def _unguarded(text: str) -> str:
    guarded = text.startswith("'") and text.lstrip("'").startswith(FORMULA)
    return text[1:] if guarded else text


def read_predictions(path: Path) -> Predictions:
    """Read and check a predictions CSV.

    Reads UTF-8 (with or without BOM), UTF-16 and Latin-1; commas, semicolons or tabs; decimal
    commas; any line ends. `label` may be absent or empty (unknown). Raises `BadInput`, naming
    the column or row, where a column is missing or repeated, a row is too short or long, an id
    is empty or repeated, a label is unknown, or probabilities are not numbers in [0, 1] that sum
    to 1 (+-1e-3).
    """
    try:
        table, _ = tables.read_csv(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None
    return from_table(table, path)


def from_table(table: pd.DataFrame, path: Path) -> Predictions:
    """Check a table of texts with the artefact's columns; `path` is named in what is refused."""
    classes = _classes(table, path)
    for column in ID_COLUMNS:
        if column not in table.columns:
            table[column] = ""
        table[column] = table[column].map(_unguarded)
    _check_ids(table, path)
    y_prob = numbers_in(table, [f"prob_{c}" for c in classes], path)
    _check_probabilities(y_prob, table, classes, path)
    logits = _logits(table, classes, path)
    ids = [table[c].to_numpy(dtype=object) for c in ("image_id", "patient_id", "lesion_id")]
    return Predictions(
        ids[0],
        ids[1],
        ids[2],
        classes,
        label_numbers(table["label"], classes, path),
        y_prob,
        logits,
    )


def _classes(table: pd.DataFrame, path: Path) -> tuple[str, ...]:
    classes = tuple(c.removeprefix("prob_") for c in table.columns if c.startswith("prob_"))
    if "image_id" not in table.columns or not classes:
        wanted = "image_id" if "image_id" not in table.columns else "prob_<class>"
        raise BadInput(
            f"column '{wanted}' is missing",
            where=str(path),
            remedy=nearest(wanted, list(table.columns)),
        )
    if "" in classes:
        raise BadInput("column 'prob_' names no class", where=str(path))
    return classes


def _check_ids(table: pd.DataFrame, path: Path) -> None:
    empty = np.flatnonzero(table["image_id"] == "")
    if len(empty):
        raise BadInput(f"image_id is empty in row {int(empty[0]) + 2}", where=str(path))
    repeated = np.flatnonzero(table["image_id"].duplicated())
    if len(repeated):
        row = int(repeated[0])
        name = table["image_id"].iloc[row]
        raise BadInput(f"image_id '{name}' in row {row + 2} is repeated", where=str(path))


def _logits(table: pd.DataFrame, classes: tuple[str, ...], path: Path) -> Floats | None:
    columns = [f"logit_{c}" for c in classes]
    missing = [c for c in columns if c not in table.columns]
    if len(missing) == len(columns):
        return None
    if missing:
        raise BadInput(
            f"column '{missing[0]}' is missing",
            where=str(path),
            remedy="give the logits of all classes, or of none",
        )
    return numbers_in(table, columns, path)


def as_numbers(texts: pd.Series) -> pd.Series:
    """Float64 of texts such as `0.25`, `0,25`, `1e-8` and `25 %`; NaN where there is no number."""
    plain = texts.str.strip().str.replace("\u2212", "-")
    plain = plain.str.replace(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)", r"\1.\2", regex=True)
    percent = plain.str.endswith("%")
    found = pd.to_numeric(plain.str.removesuffix("%"), errors="coerce").astype("float64")
    return found.where(~percent, found / 100)


def numbers_in(table: pd.DataFrame, columns: list[str], path: Path) -> Floats:
    """`(N, K)` float64 of columns of text; `BadInput` names the cell that is no finite number."""
    result = np.empty((len(table), len(columns)))
    for j, column in enumerate(columns):
        numbers = as_numbers(table[column]).to_numpy("float64")
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            row = int(bad[0])
            raise BadInput(
                f"{column} '{table[column].iloc[row]}' in row {row + 2} is not a finite number",
                where=str(path),
                remedy="write numbers such as 0.25",
            )
        result[:, j] = numbers
    return result


def _check_probabilities(
    y_prob: Floats, table: pd.DataFrame, classes: tuple[str, ...], path: Path
) -> None:
    outside = np.argwhere((y_prob < 0) | (y_prob > 1))
    if len(outside):
        row, k = (int(v) for v in outside[0])
        raise BadInput(
            f"prob_{classes[k]} {y_prob[row, k]:g} in row {row + 2} lies outside [0, 1]",
            where=str(path),
            remedy="write probabilities, not scores",
        )
    sums = y_prob.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(off):
        row = int(off[0])
        name = table["image_id"].iloc[row]
        raise BadInput(
            f"probabilities in row {row + 2} ('{name}') sum to {sums[row]:.4g}",
            where=str(path),
            remedy="every row must sum to 1",
        )


def without_absent_ids(predictions: Predictions) -> tuple[Predictions, tuple[str, ...]]:
    """Patients and lesions called "nan", "NA", "unknown" and the like as not known; and notes.

    Each such row becomes a group of its own, as one with an empty id: they are no one patient.
    The words are those that an import reads so (`tables.ABSENT`).
    """
    kept: dict[str, Any] = {}
    notes = []
    for column in ("patient_id", "lesion_id"):
        ids = pd.Series(getattr(predictions, column), dtype=object)
        kept[column] = tables.blank_unknown(ids).to_numpy(dtype=object)
        changed = ids[(ids != "").to_numpy() & (kept[column] == "")]
        if len(changed):
            said = ", ".join(f"'{word}'" for word in sorted(set(changed)))
            notes.append(f"{column} {said} in {counted(len(changed), 'row')} is read as not known")
    return replace(predictions, **kept), tuple(notes)


def label_numbers(labels: pd.Series, classes: tuple[str, ...], path: Path) -> Ints:
    """Class numbers, -1 where blank; case is forgiven where it is clear which class is meant."""
    folded = [c.casefold() for c in classes]
    index = {name: k for k, name in enumerate(folded) if folded.count(name) == 1}
    known = index | {name: k for k, name in enumerate(classes)} | {"": -1}
    exact = labels.map(known)
    numbers = exact.where(exact.notna(), labels.str.casefold().map(known))
    unknown = np.flatnonzero(numbers.isna())
    if len(unknown):
        row = int(unknown[0])
        raise BadInput(
            f"label '{labels.iloc[row]}' in row {row + 2} is not a class",
            where=str(path),
            remedy=nearest(str(labels.iloc[row]), classes),
        )
    return np.asarray(numbers, np.int64)
