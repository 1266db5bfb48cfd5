"""The predictions artefact: one CSV, the only input of evaluation, from us or from anybody."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab import files
from lesionlab.errors import BadInput, nearest

ID_COLUMNS = ("image_id", "patient_id", "lesion_id", "label")
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    """Write the CSV atomically; numbers round-trip exactly (17 significant digits at most)."""
    p = predictions
    names = np.array([*p.classes, ""], dtype=object)
    table = pd.DataFrame(
        {
            "image_id": p.image_id,
            "patient_id": p.patient_id,
            "lesion_id": p.lesion_id,
            "label": names[p.y_true],
        }
    )
    if p.logits is not None:
        for k, name in enumerate(p.classes):
            table[f"logit_{name}"] = p.logits[:, k]
    for k, name in enumerate(p.classes):
        table[f"prob_{name}"] = p.y_prob[:, k]
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    files.write_text(path, buffer.getvalue())


def read_predictions(path: Path) -> Predictions:
    """Read and check a predictions CSV.

    Raises `BadInput`, naming the column or row, where a column is missing, an id is repeated,
    a label is unknown, or probabilities are not numbers in [0, 1] that sum to 1 (+-1e-3).
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"not a readable CSV ({error})", where=str(path)) from None
    classes = tuple(c.removeprefix("prob_") for c in table.columns if c.startswith("prob_"))
    if "image_id" not in table.columns or not classes:
        wanted = "image_id" if "image_id" not in table.columns else "prob_<class>"
        raise BadInput(
            f"column '{wanted}' is missing",
            where=str(path),
            remedy=nearest(wanted, list(table.columns)),
        )
    if table.empty:
        raise BadInput("no rows", where=str(path))
    for column in ID_COLUMNS[1:]:
        if column not in table.columns:
            table[column] = ""
    repeated = table.loc[table["image_id"].duplicated(), "image_id"]
    if not repeated.empty:
        raise BadInput(f"image_id '{repeated.iloc[0]}' is repeated", where=str(path))
    y_prob = _numbers(table, [f"prob_{c}" for c in classes], path)
    _check_probabilities(y_prob, table, classes, path)
    has_logits = all(f"logit_{c}" in table.columns for c in classes)
    logits = _numbers(table, [f"logit_{c}" for c in classes], path) if has_logits else None
    ids = [table[c].to_numpy(dtype=object) for c in ("image_id", "patient_id", "lesion_id")]
    return Predictions(
        ids[0], ids[1], ids[2], classes, _labels(table, classes, path), y_prob, logits
    )


def _numbers(table: pd.DataFrame, columns: list[str], path: Path) -> Floats:
    result = np.empty((len(table), len(columns)))
    for j, column in enumerate(columns):
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy("float64")
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            row = int(bad[0])
            raise BadInput(
                f"{column} '{table[column].iloc[row]}' in row {row + 2} is not a finite number",
                where=str(path),
                remedy="write numbers with a decimal point",
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
    off = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if len(off):
        row = int(off[0])
        name = table["image_id"].iloc[row]
        raise BadInput(
            f"probabilities in row {row + 2} ('{name}') sum to {sums[row]:.4g}",
            where=str(path),
            remedy="every row must sum to 1",
        )


def _labels(table: pd.DataFrame, classes: tuple[str, ...], path: Path) -> Ints:
    index = {name: k for k, name in enumerate(classes)} | {"": -1}
    unknown = table.loc[~table["label"].isin(index), "label"]
    if not unknown.empty:
        raise BadInput(
            f"label '{unknown.iloc[0]}' in row {int(unknown.index[0]) + 2} is not a class",
            where=str(path),
            remedy=nearest(unknown.iloc[0], classes),
        )
    return np.asarray(table["label"].map(index), np.int64)
