"""What `predict` is given: images, folders, or a table of images with regions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lesionlab.data.archive import files_below, read_head
from lesionlab.data.file_kinds import DICOM_SUFFIXES, SUFFIXES, kind_of
from lesionlab.data.images import Roi
from lesionlab.data.left_out import LeftOut, grouped, why_hidden
from lesionlab.data.tables import blank_unknown, numbers, read_csv, sexes
from lesionlab.deployment.clinical_inputs import UNKNOWN, ClinicalInputs
from lesionlab.errors import BadInput, nearest

PATH_COLUMNS = ("path", "image", "file", "image_path", "filename")


@dataclass(frozen=True)
class Item:
    """One image to be classified: its id, its file, its region and clinical inputs if any."""

    image_id: str
    path: Path
    roi: Roi | None = None
    clinical: ClinicalInputs = UNKNOWN


@dataclass(frozen=True)
class FoundInputs:
    """The images to be classified, and what else lay in the folders, counted."""

    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()


def find_inputs(sources: Sequence[Path]) -> FoundInputs:
    """The images of files, folders (searched through, in order of name) and CSV tables.

    In a folder every file with the suffix or the first bytes of an image or DICOM file is one;
    whatever else lies there is counted in `left_out`.

    A table needs a column `path` (relative to the table) and may have `image_id`, `roi_x`,
    `roi_y`, `roi_size` in original pixels, and `age` (years), `sex` and `site` for a model that
    reads them: a dataset's manifest.csv is one. Ids are file names
    without suffix, made unique by their folder where they repeat. Raises `BadInput` where a
    source is absent or holds no image; an image that cannot be read is no error here.
    """
    items: list[Item] = []
    others: list[tuple[str, str]] = []
    for source in sources:
        if source.is_dir():
            items += _folder(source, others)
        elif source.suffix.lower() in (".csv", ".tsv") and source.is_file():
            items += _table(source)
        elif source.exists():
            items.append(Item(source.stem, source))
        else:
            raise BadInput("no such file or folder", where=str(source))
    if not items:
        where = ", ".join(map(str, sources))
        there = "; ".join(group.line for group in grouped(others)[:5])
        known = f"known suffixes: {', '.join(SUFFIXES)}"
        raise BadInput("no images", where=where, remedy=f"there are {there}" if there else known)
    return FoundInputs(tuple(_unique(items)), grouped(others))


def _folder(folder: Path, others: list[tuple[str, str]]) -> list[Item]:
    """The images of a folder; every other file is added to `others` with the reason."""
    found = []
    for name, path in files_below(folder):
        reason = why_hidden(name) or _why_no_image(path)
        if reason:
            others.append((name, reason))
        else:
            found.append(path)
    return [Item(path.stem, path) for path in sorted(found)]


def _why_no_image(path: Path) -> str:
    """Why a file is no image; "" also for a damaged one with the suffix of an image: a row."""
    if path.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES):
        return ""
    try:
        kind = kind_of(read_head(path))
    except BadInput as error:
        return str(error)
    return "" if kind.is_picture else kind.reason


def _table(path: Path) -> list[Item]:
    table, _ = read_csv(path.read_bytes(), str(path))
    column = next((c for c in PATH_COLUMNS if c in table.columns), None)
    if column is None:
        raise BadInput(
            "column 'path' is missing",
            where=str(path),
            remedy=nearest("path", [str(c) for c in table.columns]),
        )
    files = [path.parent / name for name in table[column]]
    ids = table["image_id"] if "image_id" in table.columns else [f.stem for f in files]
    columns = zip(ids, files, _rois(table, path), _clinical_inputs(table, path), strict=True)
    return [Item(str(i), file, roi, clinical) for i, file, roi, clinical in columns]


def _clinical_inputs(table: pd.DataFrame, path: Path) -> list[ClinicalInputs]:
    """Age, sex and site of each row, where the table has them."""
    empty = pd.Series([""] * len(table), dtype=str)
    texts = {c: table[c] if c in table.columns else empty for c in ("age", "sex", "site")}
    ages = numbers(texts["age"], "age", str(path))
    words = sexes(texts["sex"])
    sex = words.where(words != "", blank_unknown(texts["sex"]))  # strange words are named later
    rows = []
    for n, values in enumerate(zip(ages, sex, blank_unknown(texts["site"]), strict=True)):
        try:
            rows.append(ClinicalInputs(*values))
        except BadInput as error:
            raise BadInput(str(error), where=f"{path}, row {n + 2}") from None
    return rows


def _rois(table: pd.DataFrame, path: Path) -> list[Roi | None]:
    columns = ("roi_x", "roi_y", "roi_size")
    if not set(columns) <= set(table.columns):
        return [None] * len(table)
    values = zip(*(numbers(table[c], c, str(path)) for c in columns), strict=True)
    return [None if any(map(math.isnan, v)) else Roi(*v) for v in values]


def _unique(items: list[Item]) -> list[Item]:
    """Repeated ids get their folder in front, and a number behind where that is taken as well.

    An id that occurs once stays as it is: it may be the user's own.
    """
    counts = Counter(i.image_id for i in items)
    taken = {image_id for image_id, n in counts.items() if n == 1}
    numbers: Counter[str] = Counter()
    result = []
    for item in items:
        name = item.image_id
        if counts[name] > 1:
            name = _free(f"{item.path.parent.name}/{name}", taken, numbers)
            taken.add(name)
        result.append(replace(item, image_id=name))
    return result


def _free(name: str, taken: set[str], numbers: Counter[str]) -> str:
    """`name`, or `name#2`, `name#3`, ...: the first that is not taken.

    `numbers` remembers how far each name has come, so that many repeats stay quick.
    """
    free = name
    while free in taken:
        numbers[name] += 1
        free = f"{name}#{numbers[name] + 1}"
    return free
