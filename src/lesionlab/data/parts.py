"""Splits that are given: the official one, a source left out, one fold as test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Labels
from lesionlab.data.split import Parts, deal, k_folds
from lesionlab.errors import BadInput, nearest

OFFICIAL = "official_split"
STRENGTH = {"test": 3, "calib": 2, "valid": 1, "train": 0}  # the stronger part keeps a group


@dataclass(frozen=True)
class Apart:
    """Parts in which no group crosses, and which rows lost theirs for it."""

    parts: Parts
    dropped: npt.NDArray[np.bool_]


def keep_apart(groups: Labels, parts: Parts) -> Apart:
    """Where a group stands in several parts, only its rows in the strongest part stay.

    So a twin of a test image leaves training, and the test part stays as its makers gave it.

    >>> apart = keep_apart(np.array(["g", "g", "h"], object), np.array(["train", "test", "train"]))
    >>> list(apart.parts), apart.dropped.tolist()
    (['', 'test', 'train'], [True, False, False])
    """
    strength = np.array([STRENGTH.get(p, -1) for p in parts])
    strongest = pd.Series(strength).groupby(groups).transform("max").to_numpy()
    dropped = (strength >= 0) & (strength < strongest)
    return Apart(np.where(dropped, "", parts).astype(object), dropped)


def official(
    table: pd.DataFrame,
    groups: Labels,
    carve: Mapping[str, float],
    seed: int,
    stratify: Sequence[str] = (),
    where: str = "",
) -> Apart:
    """The parts that the set's makers gave; `carve` takes missing parts out of training.

    `carve` holds shares of the training part, e.g. `{"valid": 0.15}`. Training rows that belong
    to a group of a test row are dropped. Raises `BadInput` where the set has no official split.
    """
    if OFFICIAL not in table or not (table[OFFICIAL] != "").any():
        raise BadInput(
            "this data set has no official split", where=where, remedy="make one: --test 0.2"
        )
    apart = keep_apart(groups, table[OFFICIAL].to_numpy(object))
    present = set(apart.parts) - {""}
    if "train" not in present:
        raise BadInput(
            "the official split leaves no training image: "
            f"{int(apart.dropped.sum())} of {len(table)} share a group with a later split",
            where=where,
            remedy="make your own split: --test 0.2 --valid 0.15",
        )
    for part in carve:
        if part in present:
            raise BadInput(f"the official split already has a split '{part}'", where=where)
    return Apart(_carved(table, groups, apart.parts, carve, seed, stratify), apart.dropped)


def left_out(
    table: pd.DataFrame,
    groups: Labels,
    source: str,
    carve: Mapping[str, float],
    seed: int,
    stratify: Sequence[str] = (),
) -> Apart:
    """One source as test, the others as training: does the model carry over?"""
    known = sorted(set(table["source"]))
    if source in known and len(known) < 2:
        raise BadInput(
            f"'{source}' is the only source: nothing would be left to train on",
            remedy="merge several data sets first: lesionlab merge A B --to C",
        )
    if source not in known:
        raise BadInput(f"no source '{source}' among others", remedy=nearest(source, known))
    parts = np.where(table["source"] == source, "test", "train").astype(object)
    apart = keep_apart(groups, parts)
    return Apart(_carved(table, groups, apart.parts, carve, seed, stratify), apart.dropped)


def fold_as_test(
    table: pd.DataFrame,
    groups: Labels,
    folds: int,
    fold: int,
    carve: Mapping[str, float],
    seed: int,
    stratify: Sequence[str] = (),
) -> Apart:
    """Fold number `fold` (from 0) of `folds` as test; validation is carved out of the others."""
    if not 0 <= fold < folds:
        raise BadInput(f"fold {fold} of {folds} folds: folds are numbered from 0 to {folds - 1}")
    numbers = k_folds(table, groups, folds, seed, stratify)
    parts = np.where(numbers == fold, "test", "train").astype(object)
    parts = _carved(table, groups, parts, carve, seed, stratify)
    return Apart(parts, np.zeros(len(table), bool))


def _carved(
    table: pd.DataFrame,
    groups: Labels,
    parts: Parts,
    carve: Mapping[str, float],
    seed: int,
    stratify: Sequence[str],
) -> Parts:
    """`parts` with shares of its training part dealt to further parts."""
    shares = {name: share for name, share in carve.items() if share > 0}
    rest = 1 - sum(shares.values())
    if not shares:
        return parts
    if rest <= 0 or min(shares.values()) < 0:
        raise BadInput(f"proportions {carve} leave nothing for training")
    train = np.flatnonzero(parts == "train")
    if not len(train):
        raise BadInput("there is no training split to take the others from")
    inner = deal(table.iloc[train], groups[train], {"train": rest, **shares}, seed, stratify)
    result = parts.copy()
    result[train] = inner
    return result
