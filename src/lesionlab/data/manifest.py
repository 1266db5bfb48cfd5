"""The dataset artefact: a folder with `manifest.csv`, `dataset.json` and `ledger.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from lesionlab import files
from lesionlab.data.images import Reading
from lesionlab.data.split_names import SPLITS
from lesionlab.errors import BadInput, nearest

SCHEMA_VERSION = 1
MANIFEST = "manifest.csv"
INFO = "dataset.json"

NUMBER_COLUMNS = ("roi_x", "roi_y", "roi_size", "age")
PIXEL_COLUMNS = ("width", "height")  # whole numbers
# One row per image or region. Absent is an empty cell, never 0.
COLUMNS = (
    "image_id",  # unique per region
    "path",  # of the image file, relative to the dataset folder, "/" between parts
    "label",  # one of the classes of dataset.json
    "patient_id",
    "lesion_id",
    "split",  # train, valid, test, calib, or empty before `split`
    "roi_x",  # centre of the region, original pixels, origin top-left
    "roi_y",
    "roi_size",  # side of the square region, original pixels
    "age",  # years
    "sex",  # female, male
    "site",  # anatomical site, the source's own word
    "skin_type",  # Fitzpatrick I to VI where known
    "source",  # the data set that the row came from
    "width",  # of the original image, pixels
    "height",
    "sha256",  # of the file's bytes
    "phash",  # 64-bit perceptual hash, 16 hex digits
)
ORIGINAL = "original_file"  # a column of import's own: where the image lay in the source


class DatasetInfo(BaseModel):
    """`dataset.json`: what a manifest's rows cannot say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    source: str
    licence: str = "unknown"
    citation: str = ""
    classes: tuple[str, ...]
    malignant: tuple[str, ...] = ()
    depth: Literal[8, 10, 12, 14, 16] = 16  # bits that the values of its 16-bit greys use
    # Before there was this key, profiles were ignored: such a set keeps its pixels.
    colour: Literal["srgb", "stored"] = "stored"
    modality: str = "dermoscopy"
    synthetic: bool = False
    forbidden_inputs: tuple[str, ...] = ()  # columns known only after the diagnosis
    counts: dict[str, Any] = {}
    split_policy: dict[str, Any] | None = None
    leaky: bool = False
    leak_reason: str = ""
    notes: tuple[str, ...] = ()  # what import saw and a reader should know
    lesionlab_version: str = ""


@dataclass(frozen=True)
class Dataset:
    """A dataset folder in memory. `table` has `COLUMNS`, then the source's own columns.

    Text columns hold `str` ("" = absent); `roi_*`, `age`, `width` and `height` hold float64
    (NaN = absent).
    """

    folder: Path
    table: pd.DataFrame
    info: DatasetInfo

    def part(self, split: str) -> pd.DataFrame:
        """The rows of one part; `BadInput` where the set is not split or has no such part."""
        if (self.table["split"] == "").all():
            raise BadInput(
                "the data set has not been split",
                where=str(self.folder),
                remedy=f"run: lesionlab split {self.folder}",
            )
        rows = self.table[self.table["split"] == split]
        if rows.empty:
            known = sorted(set(self.table["split"]) - {""})
            raise BadInput(
                f"no images in split '{split}'",
                where=str(self.folder),
                remedy=nearest(split, known),
            )
        return rows

    def rows_of(self, split: str) -> npt.NDArray[np.int64]:
        """Row numbers of one split in `table`; `BadInput` as `part`."""
        self.part(split)
        return np.flatnonzero(self.table["split"] == split)

    def in_order(self) -> Dataset:
        """A copy with its rows in the order of `image_id`, as every cache knows them."""
        table = self.table.sort_values("image_id", kind="stable").reset_index(drop=True)
        return replace(self, table=table)

    @property
    def reading(self) -> Reading:
        """By which rule its images become 8 bits."""
        return Reading(self.info.depth, self.info.colour)

    def image_path(self, relative: str) -> Path:
        """Where the image file of a row lies."""
        return self.folder / relative

    def label_indices(self, table: pd.DataFrame) -> Any:
        """`(N,) int64` class indices of the rows of `table`."""
        index = {name: i for i, name in enumerate(self.info.classes)}
        return table["label"].map(index).to_numpy("int64")


def read_dataset(folder: Path) -> Dataset:
    """Read and check a dataset folder.

    Raises `BadInput` where a file, a column or a class is missing, an id is repeated, or the
    folder was written by a newer version.
    """
    folder = Path(folder)
    if not (folder / INFO).is_file():
        raise BadInput(
            f"not a dataset folder (no {INFO})",
            where=str(folder),
            remedy="make one with: lesionlab import",
        )
    raw = files.read_versioned(folder / INFO, SCHEMA_VERSION)
    try:
        info = DatasetInfo.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise BadInput(f"{place}: {first['msg']}", where=str(folder / INFO)) from None
    return Dataset(folder, _checked(_read_table(folder / MANIFEST), info, folder / MANIFEST), info)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"not a readable CSV ({error})", where=str(path)) from None
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise BadInput(
            f"column '{missing[0]}' is missing",
            where=str(path),
            remedy=nearest(missing[0], list(table.columns)),
        )
    return table


def _checked(table: pd.DataFrame, info: DatasetInfo, path: Path) -> pd.DataFrame:
    if table.empty:
        raise BadInput("no rows", where=str(path), remedy="import the images again")
    repeated = table.loc[table["image_id"].duplicated(), "image_id"]
    if not repeated.empty:
        raise BadInput(f"image_id '{repeated.iloc[0]}' is repeated", where=str(path))
    unknown = table.loc[~table["label"].isin(info.classes), "label"]
    if not unknown.empty:
        raise BadInput(
            f"label '{unknown.iloc[0]}' in row {int(unknown.index[0]) + 2} is not a class",
            where=str(path),
            remedy=nearest(unknown.iloc[0], info.classes),
        )
    odd = table.loc[~table["split"].isin((*SPLITS, "")), "split"]
    if not odd.empty:
        raise BadInput(
            f"split '{odd.iloc[0]}' in row {int(odd.index[0]) + 2} is none of {', '.join(SPLITS)}",
            where=str(path),
        )
    table = table.copy()
    for column in (*NUMBER_COLUMNS, *PIXEL_COLUMNS):
        numbers = pd.to_numeric(table[column].replace("", "nan"), errors="coerce")
        wrong, kind = numbers.isna() & ~table[column].isin(("", "nan")), "number"
        if column in PIXEL_COLUMNS:
            wrong, kind = wrong | (numbers % 1 > 0), "whole number"
            numbers = numbers.replace(0, np.nan)  # version 0.1.0 wrote 0 for absent
        if wrong.any():
            row = int(table.index[wrong][0])
            raise BadInput(
                f"{column} '{table.at[row, column]}' in row {row + 2} is not a {kind}",
                where=str(path),
            )
        table[column] = numbers.astype("float64")
    return table


def write_dataset(dataset: Dataset) -> None:
    """Write `manifest.csv`, then `dataset.json`, each atomically. Images are not touched."""
    extra = [c for c in dataset.table.columns if c not in COLUMNS]
    pixels = dataset.table[list(PIXEL_COLUMNS)].apply(pd.to_numeric)
    whole = pixels.astype("Int64")  # 600, not 600.0; absent stays empty
    table = dataset.table[[*COLUMNS, *extra]].assign(**{c: whole[c] for c in PIXEL_COLUMNS})
    files.write_text(dataset.folder / MANIFEST, table.to_csv(index=False, lineterminator="\n"))
    files.write_json(dataset.folder / INFO, json.loads(dataset.info.model_dump_json()))


def with_table(dataset: Dataset, table: pd.DataFrame, **info: Any) -> Dataset:
    """A copy with another table and, by keyword, other fields of `info`."""
    return replace(dataset, table=table, info=dataset.info.model_copy(update=info))


def original_files(table: pd.DataFrame) -> list[str]:
    """The name that each image's file had before import; that of our copy where it is not known.

    >>> rows = {"path": ["images/a.jpg", "images/b.jpg"], "original_file": ["x/A 1.jpg", ""]}
    >>> original_files(pd.DataFrame(rows))
    ['x/A 1.jpg', 'b.jpg']
    """
    copies = [str(path).rpartition("/")[2] for path in table["path"]]
    if ORIGINAL not in table:
        return copies
    return [str(a) or b for a, b in zip(table[ORIGINAL], copies, strict=True)]


def printable(name: str) -> str:
    """A file name without what could steer a terminal or cannot be written as UTF-8.

    >>> printable("a\\x1b[31m.jpg")
    'a�[31m.jpg'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def group_ids(table: pd.DataFrame) -> pd.Series:
    """The unit that must not cross parts: patient, else lesion, else the image itself.

    Duplicates are not looked at here (`lesionlab.data.groups` unites them for `split`).

    >>> rows = {"image_id": ["a", "b"], "lesion_id": ["L1", ""], "patient_id": ["", ""]}
    >>> list(group_ids(pd.DataFrame(rows)))
    ['lesion:L1', 'image:b']
    """
    patient, lesion = table["patient_id"].astype(str), table["lesion_id"].astype(str)
    groups = "image:" + table["image_id"].astype(str)
    groups = groups.where(lesion == "", "lesion:" + lesion)
    return groups.where(patient == "", "patient:" + patient)
