"""Two training sets that differ in one thing: whether the test images' siblings are in them.

What a random split by image would have claimed can only be said for the same test images, the
same number of training images and the same classes. So one image of each test group is tested;
the leaky arm trains on its siblings, the clean arm on as many images of the same class that are
no siblings of any test image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.data.groups import Labels, crossing
from lesionlab.data.randomness import philox
from lesionlab.data.split import Parts, deal, shares_of
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
    """Deal the groups, then make the two arms (see the head of this file).

    Raises `BadInput` where no test group has a sibling to leak.
    """
    parts = deal(table, groups, shares_of(test, valid), seed)
    order = philox(seed, "inflation").permutation(_stable(table))
    tested = np.zeros(len(table), bool)
    seen: set[object] = set()
    for i in order:
        if parts[i] == "test" and groups[i] not in seen:
            seen.add(groups[i])
            tested[i] = True
    siblings = (parts == "test") & ~tested
    siblings, exchanged = _matched(table["label"].to_numpy(object), parts, siblings, order)
    if not siblings.any():
        raise BadInput("no test image has a sibling: a split by image would not leak here")
    clean = np.where((parts == "test") & ~tested, "", parts).astype(object)
    leaky = clean.copy()
    leaky[siblings], leaky[exchanged] = "train", ""
    leaked = set(groups[siblings])
    n = sum(g in leaked for g in groups[tested])
    assert not crossing(groups, clean)
    return Arms(leaky, clean, siblings, exchanged, int(tested.sum()), n)


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
