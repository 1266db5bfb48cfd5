"""Folds over the splits that are not test. No fold holds a test image, or one of its group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Ints, Labels
from lesionlab.data.manifest import Dataset
from lesionlab.data.parts import keep_apart
from lesionlab.data.split import Parts, deal, k_folds
from lesionlab.errors import BadInput, counted, nearest

OUTSIDE = -1  # the fold of a row that takes no part
MOST = 20  # values of a column that make folds


@dataclass(frozen=True)
class Folds:
    """`number` (N,) is the fold of each row of the table, `OUTSIDE` for sealed and unused rows."""

    number: Ints
    names: tuple[str, ...]  # of the folds: "0", "1" ..., or the values of a column
    sealed: int  # rows of the test part


def open_rows(dataset: Dataset, groups: Labels) -> npt.NDArray[np.bool_]:
    """(N,) rows that may be folded: those with a part that is not test, and no kin in test.

    In a data set that was never split all rows may.
    """
    parts = dataset.table["split"].to_numpy(object)
    if (parts == "").all():
        return np.ones(len(parts), bool)
    sides = np.where(parts == "test", "test", np.where(parts == "", "", "train")).astype(object)
    return np.asarray(keep_apart(groups, sides).parts == "train")


def deal_folds(
    dataset: Dataset,
    groups: Labels,
    folds: int,
    seed: int,
    by: str = "",
    units: Labels | None = None,
) -> Folds:
    """Deal whole groups into `folds`, every class in proportion; another deal for each seed.

    `units` are dealt in place of `groups`: the images, where a leak is wanted; kin of the sealed
    part stays out all the same. With `by` each value of that column is a fold, such as
    `by="source"`: leave one source out.
    Raises `BadInput` where a class has fewer groups than there are folds.
    """
    table = dataset.table
    usable = np.flatnonzero(open_rows(dataset, groups))
    number = np.full(len(table), OUTSIDE, np.int64)
    sealed = int((table["split"] == "test").sum())
    if by:
        names = _values(dataset, usable, by)
        index = {name: i for i, name in enumerate(names)}
        number[usable] = table[by].iloc[usable].astype(str).map(index).to_numpy("int64")
        return Folds(number, names, sealed)
    units = groups if units is None else units
    number[usable] = k_folds(table.iloc[usable], units[usable], folds, seed)
    return Folds(number, tuple(map(str, range(folds))), sealed)


def _values(dataset: Dataset, usable: Ints, by: str) -> tuple[str, ...]:
    if by not in dataset.table.columns:
        raise BadInput(
            f"no column '{by}'", where="--by", remedy=nearest(by, list(dataset.table.columns))
        )
    found = dataset.table[by].iloc[usable]
    values = found.astype(str).mask(found.isna(), "")
    unknown = int((values == "").sum())
    names = tuple(sorted(set(values)))
    if unknown:
        raise BadInput(
            f"column '{by}' is unknown for {counted(unknown, 'image')}",
            where="--by",
            remedy="choose a column that every image has, such as source",
        )
    if len(names) < 2:
        raise BadInput(
            f"column '{by}' has only one value, so no source can be left out", where="--by"
        )
    if len(names) > MOST:
        raise BadInput(
            f"column '{by}' has {len(names)} values, and each would be a fold (at most {MOST})",
            where="--by",
            remedy="choose a column with fewer values, or use --folds",
        )
    return names


def fold_parts(
    dataset: Dataset, groups: Labels, folds: Folds, fold: int, valid: float, seed: int
) -> Parts:
    """(N,) the parts of one training: the fold is "test", of the rest a share is "valid".

    Validation (for early stopping and calibration) is dealt by whole groups from inside the
    other folds. Rows that share a group with the fold (folds by a column may tear one) drop out.
    """
    inside = folds.number == fold
    parts = np.where(inside, "test", np.where(folds.number == OUTSIDE, "", "train")).astype(object)
    parts = keep_apart(groups, parts).parts
    train = np.flatnonzero(parts == "train")
    shares = {"train": 1 - valid, "valid": valid}
    parts[train] = deal(dataset.table.iloc[train], groups[train], shares, seed)
    return parts
