"""Similar cases of other patients, and how often neighbours agree on the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation.statistics import mean_measure

NEIGHBOURS = 5
BLOCK = 1024  # queries at once: their similarities to 10,000 images take 40 MB

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.object_]


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

    `share` is the mean share over the images, `balanced` the mean of the classes' means (its
    chance level is `chance_balanced`), `by_class` those means. `chance` is what neighbours drawn
    at random would give.
    """

    k: int
    share: Measure
    by_class: dict[str, Measure]
    balanced: float | None
    chance: float
    chance_balanced: float


def agreement(
    rows: Ints, labels: Ints, bank_labels: Ints, groups: Labels, classes: tuple[str, ...]
) -> Agreement:
    """From the neighbours' rows (N, k) of `nearest` and the labels of both sides."""
    there = rows >= 0
    same = (bank_labels[np.maximum(rows, 0)] == labels[:, None]) & there
    counts = there.sum(1)
    share = np.where(counts > 0, same.sum(1) / np.maximum(counts, 1), np.nan)
    by_class = {
        name: mean_measure(share[labels == k], groups[labels == k])
        for k, name in enumerate(classes)
        if (labels == k).any()
    }
    values = [m.value for m in by_class.values() if m.value is not None]
    base = np.bincount(bank_labels, minlength=len(classes)) / len(bank_labels)
    mine = np.bincount(labels, minlength=len(classes)) / len(labels)
    return Agreement(
        rows.shape[1],
        mean_measure(share, groups),
        by_class,
        float(np.mean(values)) if values else None,
        float(base @ mine),
        float(base[mine > 0].mean()),
    )
