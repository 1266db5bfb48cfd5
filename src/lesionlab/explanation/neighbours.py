"""Similar cases of other patients, and how often neighbours agree on the label."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lesionlab.array_types import Float32, Floats, Ints, Labels
from lesionlab.data.randomness import philox
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation.statistics import SHARE, balanced_measure, known_mean, mean_measure

NEIGHBOURS = 5
BLOCK = 1024  # queries at once: their similarities to 10,000 images take 40 MB
MOST = 10_000  # images that leave-one-out asks: 15 s against 20,000 others on 2 cores


def unit_rows(embedding: Float32) -> Float32:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.sqrt((embedding.astype(np.float32) ** 2).sum(1, keepdims=True))
    return np.asarray(embedding / np.maximum(length, 1e-12), np.float32)


def nearest(
    queries: Float32, groups: Labels, bank: Float32, bank_groups: Labels, k: int = NEIGHBOURS
) -> tuple[Ints, Float32]:
    """(N, k) rows of `bank` nearest to each query by angle, and their cosine, best first.

    No neighbour shares the query's group (patient, else lesion, else image): another picture of
    the same lesion is no second opinion. -1 and NaN where there are too few others.
    """
    names = {g: i for i, g in enumerate(dict.fromkeys([*groups, *bank_groups]))}
    own = np.array([names[g] for g in groups])
    theirs = np.array([names[g] for g in bank_groups])
    unit, known = unit_rows(queries), unit_rows(bank)
    k = min(k, len(bank))
    rows, cosines = np.full((len(queries), k), -1), np.full((len(queries), k), np.nan, np.float32)
    for i in range(0, len(queries), BLOCK):
        part = slice(i, i + BLOCK)
        cosine = unit[part] @ known.T
        cosine[own[part, None] == theirs[None]] = -np.inf
        best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(cosine, best, 1)
        order = np.lexsort((best, -value), axis=1)
        best, value = np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)
        there = np.isfinite(value)
        rows[part] = np.where(there, best, -1)
        cosines[part] = np.where(there, value, np.nan)
    return rows.astype(np.int64), cosines


@dataclass(frozen=True)
class Agreement:
    """How often an image's nearest others, of other groups, carry its label.

    `share` is the mean share over the images, `balanced` the mean of the classes' means,
    `by_class` those means. `chance` and `chance_balanced` are what neighbours drawn at random
    from the other groups would give. `n` images were asked.
    """

    k: int
    n: int
    share: Measure
    by_class: dict[str, Measure]
    balanced: Measure
    chance: float
    chance_balanced: float


def agreement(
    rows: Ints,
    labels: Ints,
    bank_labels: Ints,
    groups: Labels,
    classes: tuple[str, ...],
    bank_groups: Labels | None = None,
) -> Agreement:
    """From the neighbours' rows (N, k) of `nearest` and the labels of both sides.

    `bank_groups` are needed where the queries' groups are in the bank too: they lower the chance.
    Images without neighbours do not count. The intervals take the bank as given.
    """
    there = rows >= 0
    same = (bank_labels[np.maximum(rows, 0)] == labels[:, None]) & there
    counts = there.sum(1)
    share = np.where(counts > 0, same.sum(1) / np.maximum(counts, 1), np.nan)
    by_chance = _by_chance(labels, groups, bank_labels, bank_groups)
    present = [k for k in range(len(classes)) if (labels == k).any()]
    return Agreement(
        rows.shape[1],
        len(rows),
        mean_measure(share, groups, SHARE),
        {classes[k]: mean_measure(share[labels == k], groups[labels == k], SHARE) for k in present},
        balanced_measure(share, labels, groups),
        float(known_mean(by_chance)),
        float(known_mean([known_mean(by_chance[labels == k]) for k in present])),
    )


def _by_chance(
    labels: Ints, groups: Labels, bank_labels: Ints, bank_groups: Labels | None
) -> Floats:
    """(N,) the share of each query's own label among the bank's images of other groups."""
    alike = np.bincount(bank_labels, minlength=int(labels.max()) + 1)[labels].astype(np.float64)
    others = np.full(len(labels), float(len(bank_labels)))
    if bank_groups is not None:
        of_group = Counter(bank_groups.tolist())
        of_both = Counter(zip(bank_groups.tolist(), bank_labels.tolist(), strict=True))
        others -= [of_group[g] for g in groups.tolist()]
        alike -= [of_both[p] for p in zip(groups.tolist(), labels.tolist(), strict=True)]
    return np.where(others > 0, alike / np.maximum(others, 1), np.nan)


def leave_one_out(
    bank: Float32,
    groups: Labels,
    labels: Ints,
    classes: tuple[str, ...],
    seed: int = 0,
    k: int = NEIGHBOURS,
) -> Agreement:
    """The agreement of each image of the bank with its nearest of the bank's other groups.

    A patient's (lesion's) own images are left out together. Of more than `MOST` images so many
    are drawn to be asked; the neighbours still come from all.
    """
    asked = np.arange(len(bank))
    if len(asked) > MOST:
        asked = np.sort(philox(seed, "leave one out").permutation(asked)[:MOST])
    rows, _ = nearest(bank[asked], groups[asked], bank, groups, k)
    return agreement(rows, labels[asked], labels, groups[asked], classes, groups)
