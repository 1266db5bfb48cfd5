"""Two training sets that differ in one thing: whether images of the test groups are in them.

The test part is dealt by image, as tutorials do, so that siblings of its images are left over. The
leaky arm trains on these siblings, the clean arm on as many images of the same classes that are no
siblings of any test image. Test part, validation part and the number of training images of each
class are the same in both, so the difference is what a random split by image would have claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Labels
from lesionlab.data.groups import crossing
from lesionlab.data.randomness import philox
from lesionlab.data.split import Parts, deal, deal_by_image, shares_of
from lesionlab.errors import BadInput


@dataclass(frozen=True)
class Arms:
    """(N,) parts of either arm. Test and validation are the same in both."""

    leaky: Parts
    clean: Parts
    siblings: npt.NDArray[np.bool_]  # rows that only the leaky arm trains on
    exchanged: npt.NDArray[np.bool_]  # rows that only the clean arm trains on
    tested: int
    with_siblings: int  # test images that have a sibling in the leaky arm's training


def arms(
    table: pd.DataFrame, groups: Labels, seed: int, test: float = 0.2, valid: float = 0.15
) -> Arms:
    """The test part by image, validation by whole groups that have none in test, then the arms.

    Raises `BadInput` where no test image has a sibling to leak.
    """
    shares_of(test, valid)
    tested = deal_by_image(table, {"train": 1 - test, "test": test}, seed) == "test"
    siblings = ~tested & np.isin(groups.astype(str), groups[tested].astype(str))
    parts = np.where(tested, "test", "").astype(object)
    rest = np.flatnonzero(~tested & ~siblings)
    share = min(0.5, valid * len(table) / max(len(rest), 1))
    inner = {"train": 1 - share, "valid": share} if valid else {"train": 1.0}
    parts[rest] = deal(table.iloc[rest], groups[rest], inner, seed)
    order = philox(seed, "inflation").permutation(_stable(table))
    siblings, exchanged = _matched(table["label"].to_numpy(object), parts, siblings, order)
    if not siblings.any():
        raise BadInput(
            "no test image shares a group with another image: a split by image does not leak"
        )
    leaky = parts.copy()
    leaky[siblings], leaky[exchanged] = "train", ""
    leaked = set(groups[siblings])
    n = sum(g in leaked for g in groups[tested])
    assert not crossing(groups, parts)
    return Arms(leaky, parts, siblings, exchanged, int(tested.sum()), n)


def _stable(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Row numbers in the order of image ids: the order of rows must not matter."""
    return np.argsort(table["image_id"].to_numpy(str), kind="stable")


def _matched(
    labels: npt.NDArray[np.object_],
    parts: Parts,
    siblings: npt.NDArray[np.bool_],
    order: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The siblings that can be replaced, and as many training rows of each class."""
    kept, exchanged = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for label in sorted(set(labels)):
        ours = [i for i in order if siblings[i] and labels[i] == label]
        others = [i for i in order if parts[i] == "train" and labels[i] == label]
        n = min(len(ours), len(others) // 2)  # never more than half of a class changes
        kept[ours[:n]] = True
        exchanged[others[:n]] = True
    return kept, exchanged
