"""A smaller data set out of a larger one: whole groups, the parent's provenance and accesses."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab import __version__, files
from lesionlab.array_types import Labels
from lesionlab.data import ledger
from lesionlab.data.importing import count
from lesionlab.data.manifest import NUMBER_COLUMNS, PIXEL_COLUMNS, Dataset, write_dataset
from lesionlab.data.randomness import philox
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.progress import SILENT, Progress

KNOWN_PAIRS = ("duplicates.csv", "duplicates.json")
MISSING = "the others stay in the parent: never use it to test what was trained on this data set"


@dataclass(frozen=True)
class Selection:
    """What is wanted: rows with all of `where`, then `per_class` or `fraction` of them."""

    per_class: int | Mapping[str, int] | None = None
    fraction: float | None = None
    where: tuple[tuple[str, str], ...] = ()
    by_image: bool = False
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {
            "per_class": self.per_class if isinstance(self.per_class, int | None)
            else dict(self.per_class),
            "fraction": self.fraction,
            "where": [list(pair) for pair in self.where],
            "by_image": self.by_image,
            "seed": self.seed,
        }  # fmt: skip


def subset_dataset(
    dataset: Dataset, groups: Labels, to: Path, wanted: Selection, progress: Progress = SILENT
) -> Dataset:
    """Write the chosen rows of `dataset` as the dataset folder `to`, images copied.

    `groups` (N,) are the groups of its rows; a group is drawn whole, unless `wanted.by_image`.
    Rows keep their split. The new ledger begins with the head of the parent's, and the accesses
    to the parent's test split count here too. Raises `BadInput` where fewer than two classes
    would be left, for an unknown column, value or class, and where `to` exists.
    """
    files.refuse_existing(to)
    chosen, notes = choose(dataset, groups, wanted)
    table = dataset.table[chosen].reset_index(drop=True)
    present = set(table["label"])
    if len(present) < 2:
        raise BadInput(
            f"{counted(len(table), 'image')} of {counted(len(present), 'class', 'classes')} would "
            "be left: one class is no classification",
            where=str(dataset.folder),
            remedy="choose more with --per-class, --fraction or another --where",
        )
    classes = tuple(c for c in dataset.info.classes if c in present)
    old = dataset.info
    info = old.model_copy(
        update={
            "classes": classes,
            "malignant": tuple(c for c in old.malignant if c in present),
            "counts": {**count(table, classes), "expected": {}, "rejected": []},
            "notes": (*old.notes, *notes),
            "lesionlab_version": __version__,
        }
    )
    with files.stage_folder(to) as aside:
        _copy_files(dataset.folder, aside, table, progress)
        write_dataset(Dataset(aside, table, info))
        _begin_ledger(dataset, aside, wanted)
    return Dataset(to, table, info)


def choose(
    dataset: Dataset, groups: Labels, wanted: Selection
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """(N,) which rows are chosen, and what should be said of it."""
    table = dataset.table
    rows = _where(table, wanted.where)
    units = table["image_id"].to_numpy(object) if wanted.by_image else groups
    here = np.flatnonzero(rows)
    labels = table["label"].to_numpy(object)[here]
    goal, short = _goals(labels, dataset.info.classes, wanted)
    drawn = _drawn(labels, np.asarray(units, object)[here], goal, wanted.seed)
    chosen = np.zeros(len(table), bool)
    chosen[here[drawn]] = True
    cut = len(set(groups[chosen]) & set(groups[~chosen]))
    notes = [f"subset: {chosen.sum():,} of {len(table):,} rows of {dataset.info.name}", *short]
    if cut:
        notes.append(f"{counted(cut, 'group is', 'groups are')} here in part; {MISSING}")
    return chosen, notes


def _where(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.bool_]:
    rows = np.ones(len(table), bool)
    for column, value in pairs:
        if column not in table:
            raise BadInput(f"no column '{column}'", where="--where",
                           remedy=nearest(column, list(table.columns)))  # fmt: skip
        if column in (*NUMBER_COLUMNS, *PIXEL_COLUMNS):
            hit = (table[column] == pd.to_numeric(value, errors="coerce")).to_numpy()
        else:
            hit = (table[column].astype(str) == value).to_numpy()
        if not hit.any():
            known = sorted(set(table[column].astype(str)))
            raise BadInput(f"no row has {column}={value}", where="--where",
                           remedy=nearest(value, known))  # fmt: skip
        rows &= hit
    return rows


def _goals(
    labels: npt.NDArray[np.object_], classes: Sequence[str], wanted: Selection
) -> tuple[dict[str, int], list[str]]:
    """How many images of each class are wanted, and where there are fewer."""
    have = {c: int((labels == c).sum()) for c in classes}
    if wanted.per_class is not None and wanted.fraction is not None:
        raise BadInput("give --per-class or --fraction, not both")
    if wanted.fraction is not None:
        if not 0 < wanted.fraction <= 1:
            raise BadInput(f"--fraction {wanted.fraction:g} is not above 0 and at most 1")
        return {c: max(1, round(wanted.fraction * n)) if n else 0 for c, n in have.items()}, []
    if wanted.per_class is None:
        return have, []
    if isinstance(wanted.per_class, int):
        asked = dict.fromkeys(classes, wanted.per_class)
    else:
        asked = dict(wanted.per_class)
    for name, n in asked.items():
        if name not in have:
            raise BadInput(f"no class '{name}'", where="--per-class",
                           remedy=nearest(name, classes))  # fmt: skip
        if n < 1:
            raise BadInput(f"{n} images of '{name}': give at least 1", where="--per-class")
    short = [f"class '{c}' has {have[c]:,} images, not {n:,}" for c, n in asked.items()
             if have[c] < n]  # fmt: skip
    return {c: min(n, have[c]) for c, n in asked.items()}, short


def _drawn(
    labels: npt.NDArray[np.object_],
    units: npt.NDArray[np.object_],
    goal: Mapping[str, int],
    seed: int,
) -> npt.NDArray[np.int64]:
    """Row numbers of whole units, in random order, until each class has what it wants.

    A unit is taken where no class gets more than it wants, or where a class has nothing yet.
    The result does not depend on the order of the rows.
    """
    names, unit_of = np.unique(units.astype(str), return_inverse=True)
    rows_of: list[list[int]] = [[] for _ in names]
    for row, unit in enumerate(unit_of):
        rows_of[unit].append(row)
    have = dict.fromkeys(goal, 0)
    taken: list[int] = []
    for unit in philox(seed, "subset").permutation(len(names)):
        brings = pd.Series(labels[rows_of[unit]]).value_counts().to_dict()
        if all(_fits(c, n, have, goal) for c, n in brings.items()):
            for c, n in brings.items():
                have[c] += n
            taken += rows_of[unit]
    return np.array(sorted(taken), np.int64)


def _fits(name: str, n: int, have: Mapping[str, int], goal: Mapping[str, int]) -> bool:
    target = goal.get(name, 0)
    return target > 0 and (have[name] + n <= target or have[name] == 0)


def _copy_files(source: Path, to: Path, table: pd.DataFrame, progress: Progress) -> None:
    paths = [*table["path"], *table.get("mask", [])]
    names = [p for p in dict.fromkeys(paths) if p]
    for name in progress(names, "copying images", len(names)):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source / name, to / name)
        except OSError as error:
            raise BadInput(
                f"cannot be copied ({error.strerror})", where=str(source / name)
            ) from None
    for name in KNOWN_PAIRS:
        if (source / name).is_file():
            shutil.copyfile(source / name, to / name)


def _begin_ledger(parent: Dataset, folder: Path, wanted: Selection) -> None:
    """The first line holds the head of the parent's ledger; then its accesses to the test split."""
    lines = ledger.read_and_verify(parent.folder)
    head = lines[-1]["hash"] if lines else ledger.START
    told = {"event": "subset", "parent": parent.info.name, "parent_head": head,
            "parent_entries": len(lines), "selection": wanted.to_json()}  # fmt: skip
    ledger.append(folder, told)
    kept = ("when", "who", "run", "split", "result", "model")
    for line in lines:
        if line.get("event") == "opened":
            entry = {k: line[k] for k in kept if k in line}
            ledger.append(folder, {"event": "opened", **entry, "of_parent": line["hash"]})
