"""Assign groups to splits: what belongs together is never divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats, Labels
from lesionlab.data.clinical_metadata import AGE_BANDS
from lesionlab.data.groups import crossing
from lesionlab.data.randomness import philox
from lesionlab.data.split_names import SPLITS
from lesionlab.errors import BadInput

Parts = npt.NDArray[np.object_]
ATTEMPTS = 10
GOOD_ENOUGH = 0.005  # class shares of the parts within half a point: no further attempt
OLDEST = 200  # years: the upper end of the last band


def shares_of(test: float, valid: float, calib: float = 0.0) -> dict[str, float]:
    """`{"train": rest, "valid": ..., "test": ..., "calib": ...}` without empty parts.

    >>> shares_of(0.2, 0.15)
    {'train': 0.65, 'valid': 0.15, 'test': 0.2}
    """
    for name, share in (("test", test), ("valid", valid), ("calib", calib)):
        if not 0 <= share < 1:
            raise BadInput(f"--{name} {share:g} is not a proportion from 0 to below 1")
    rest = round(1 - test - valid - calib, 12)
    if rest <= 0 or test + valid + calib == 0:
        raise BadInput(
            f"proportions {test:g} + {valid:g} + {calib:g} leave {rest:g} for training",
            remedy="for example --test 0.2 --valid 0.15",
        )
    parts = {"train": rest, "valid": valid, "test": test, "calib": calib}
    return {name: share for name, share in parts.items() if share > 0}


def deal(
    table: pd.DataFrame,
    groups: Labels,
    shares: Mapping[str, float],
    seed: int,
    stratify: Sequence[str] = (),
) -> Parts:
    """(N,) a part for each row: whole groups, every class in proportion.

    The label is always stratified; `stratify` adds `source`, `age`, `sex` or any column. The
    result depends on the seed and on what the rows say, not on their order. Raises `BadInput`
    for a class with fewer groups than parts.
    """
    names, group_of = np.unique(groups.astype(str), return_inverse=True)
    labels, label_of = np.unique(table["label"].to_numpy(str), return_inverse=True)
    counts = _counts(group_of, label_of, len(names), len(labels))
    extra = [_counts(group_of, c, len(names), c.max() + 1) for c in _codes(table, stratify)]
    _refuse_scarce(counts, labels, len(shares))
    weights = np.hstack([counts, *(0.3 * e for e in extra)])
    target = np.array(list(shares.values())) / sum(shares.values())
    best, best_spread = None, np.inf
    for attempt in range(ATTEMPTS):
        dealt = _deal_once(weights, target, philox(seed, "split", attempt))
        spread = _spread(counts, dealt, len(target))
        if spread < best_spread:
            best, best_spread = dealt, spread
        if spread < GOOD_ENOUGH:
            break
    if best is None:
        raise BadInput(
            "no split was found with every class in every part",
            remedy="try another --seed, fewer splits or other proportions",
        )
    return np.array(list(shares), object)[best[group_of]]


def _counts(
    group_of: npt.NDArray[np.int64], code_of: npt.NDArray[np.int64], groups: int, codes: int
) -> Floats:
    """(groups, codes) how many images of each group carry each code."""
    counts = np.zeros((groups, codes))
    np.add.at(counts, (group_of, code_of), 1)
    return counts


def _refuse_scarce(counts: Floats, labels: npt.NDArray[np.str_], parts: int) -> None:
    groups = (counts > 0).sum(0)
    if (groups < parts).any():
        k = int((groups < parts).argmax())
        n = int(groups[k])
        raise BadInput(
            f"class '{labels[k]}' has {n} group{'s' * (n != 1)}, fewer than the {parts} splits",
            remedy="use fewer splits, merge the class with another, or add cases",
        )


def _codes(table: pd.DataFrame, stratify: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    codes = []
    for column in stratify:
        if column not in table.columns:
            raise BadInput(f"no column '{column}' to stratify by")
        values = table[column]
        if column == "age":
            values = pd.cut(values.astype(float), [*AGE_BANDS, OLDEST]).astype(str)
        codes.append(pd.factorize(values.astype(str), sort=True)[0])
    return codes


def _deal_once(weights: Floats, target: Floats, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """(groups,) the part of each group: the one that lacks most of what the group brings.

    Groups with the rarest classes and the largest come first, while there is room to place
    them; within that order they are shuffled.
    """
    totals = weights.sum(0)
    order = draw.permutation(len(weights))
    rarest = np.where(weights > 0, totals, np.inf).min(1)
    order = order[np.lexsort((-weights.sum(1)[order], rarest[order]))]
    want = np.outer(target, totals)  # (parts, codes)
    have = np.zeros_like(want)
    share = weights / totals
    dealt = np.zeros(len(weights), np.int64)
    for g in order:
        need = (1 - have / want) @ share[g]
        top = np.flatnonzero(need >= need.max() - 1e-12)
        part = top[0] if len(top) == 1 else draw.choice(top, p=target[top] / target[top].sum())
        dealt[g] = part
        have[part] += weights[g]
    return dealt


def _spread(counts: Floats, dealt: npt.NDArray[np.int64], parts: int) -> float:
    """The largest difference of a class's share between two parts; infinite if one lacks it."""
    table = np.array([counts[dealt == p].sum(0) for p in range(parts)])
    if (table == 0).any():
        return float("inf")
    share = table / table.sum(1, keepdims=True)
    return float((share.max(0) - share.min(0)).max())


def deal_by_image(table: pd.DataFrame, shares: Mapping[str, float], seed: int) -> Parts:
    """(N,) parts dealt by image within each class, as tutorials do: siblings cross. It leaks."""
    ids = table["image_id"].to_numpy(str)
    return deal(table, np.char.add("image:", ids).astype(object), shares, seed)


def k_folds(
    table: pd.DataFrame, groups: Labels, folds: int, seed: int, stratify: Sequence[str] = ()
) -> npt.NDArray[np.int64]:
    """(N,) a fold from 0 to `folds` - 1 for each row, by whole groups, every class in proportion.

    >>> rows = pd.DataFrame({"label": list("ababab"), "image_id": list("uvwxyz")})
    >>> sorted(k_folds(rows, rows["image_id"].to_numpy(object), 3, 0).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    if folds < 2:
        raise BadInput(f"{folds} folds are too few", remedy="use at least 2")
    shares = {str(f): 1.0 for f in range(folds)}
    return deal(table, groups, shares, seed, stratify).astype(np.int64)


def summary(table: pd.DataFrame, groups: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """`{part: {images, groups, classes: {name: n}}, ..., "groups_crossing": n}` of a table."""
    result: dict[str, Any] = {}
    parts = table["split"].to_numpy(object)
    for part in SPLITS:
        here = parts == part
        if here.any():
            n = table.loc[here, "label"].value_counts()
            result[part] = {
                "images": int(here.sum()),
                "groups": len(set(groups[here])),
                "classes": {c: int(n.get(c, 0)) for c in classes},
            }
    return {**result, "groups_crossing": len(crossing(groups, parts))}
