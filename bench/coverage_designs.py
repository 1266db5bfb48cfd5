"""The simulated studies of bench/coverage.py: who is measured, how often, how alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

HAM = np.array([6705, 1113, 1099, 514, 327, 142, 115]) / 10015
SHIFT = np.array([2.5, 2.0, 2.2, 2.5, 2.0, 3.5, 2.0])
NAMES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")


@dataclass(frozen=True)
class Cell:
    """One design. `labels`: does a group share one label, or has each image its own?"""

    name: str
    groups: int
    images: int
    icc: float
    labels: str = "group"
    positive: float = 0.2  # share of positive labels (two classes)
    distance: float = 1.5  # between the class means, in standard deviations
    classes: int = 2
    sizes: str = "equal"  # or "unequal": images a group from 1 up, geometric, `images` on average
    tails: int | None = None  # degrees of freedom of t-distributed scores; None: normal


CELLS = (
    Cell("5 x1", 25, 1, 0.0),
    Cell("10 x1", 50, 1, 0.0),
    Cell("20 x1", 100, 1, 0.0),
    Cell("40 x1", 200, 1, 0.0),
    Cell("80 x1", 400, 1, 0.0),
    Cell("10 x3 .5", 50, 3, 0.5),
    Cell("20 x3 .5", 100, 3, 0.5),
    Cell("40 x3 .5", 200, 3, 0.5),
    Cell("80 x3 .5", 400, 3, 0.5),
    Cell("20 x5 .8", 100, 5, 0.8),
    Cell("40 x5 .8", 200, 5, 0.8),
    Cell("20 u3 .5", 100, 3, 0.5, sizes="unequal"),
    Cell("20 u5 .8", 100, 5, 0.8, sizes="unequal"),
    Cell("16 m3 .5", 60, 3, 0.5, "image", 0.1),
    Cell("29 m3 .5", 60, 3, 0.5, "image"),
    Cell("20 m5 .8", 30, 5, 0.8, "image"),
    Cell("40 m5 .8", 60, 5, 0.8, "image"),
    Cell("81 m5 .8", 120, 5, 0.8, "image"),
    Cell("12 x3 .5 easy", 60, 3, 0.5, distance=2.7),
    Cell("24 x3 .5 easy", 120, 3, 0.5, distance=2.7),
    Cell("24 x1 easy", 120, 1, 0.0, distance=2.7),
    Cell("30 x1 t5", 150, 1, 0.0, distance=3.1, tails=5),
    Cell("80 x1 t5", 400, 1, 0.0, distance=3.1, tails=5),
    Cell("40 x3 .5 t5", 200, 3, 0.5, distance=3.1, tails=5),
    Cell("7 classes, 6", 522, 2, 0.8, classes=7),
    Cell("7 classes, 12", 1045, 2, 0.8, classes=7),
    Cell("7 classes, 25", 2177, 2, 0.8, classes=7),
    Cell("7 classes, m3 12", 350, 3, 0.5, "image", classes=7),
)


def draw(cell: Cell, generator: np.random.Generator, groups: int) -> tuple[np.ndarray, ...]:
    """Group numbers, labels and probabilities of one study."""
    unequal = cell.sizes == "unequal"
    each = generator.geometric(1 / cell.images, groups) if unequal else cell.images
    code = np.repeat(np.arange(groups), each)
    n, k = len(code), cell.classes
    prior = HAM if k > 2 else np.array([1 - cell.positive, cell.positive])
    if cell.labels == "group":
        y_true = generator.choice(k, groups, p=prior)[code]
    else:
        y_true = generator.choice(k, n, p=prior)
    width = k if k > 2 else 1
    noise = np.sqrt(cell.icc) * effects(cell, generator, (groups, width))[code]
    noise += np.sqrt(1 - cell.icc) * effects(cell, generator, (n, width))
    if k == 2:
        d, x = cell.distance, noise[:, 0] + cell.distance * y_true
        p = expit(d * x - d * d / 2 + logit(cell.positive))
        return code, y_true, np.stack([1 - p, p], axis=1)
    noise[np.arange(n), y_true] += SHIFT[y_true]
    z = SHIFT * noise - SHIFT**2 / 2 + np.log(HAM)
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return code, y_true, z / z.sum(axis=1, keepdims=True)


def effects(cell: Cell, generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Normal, or of heavy tails and the same variance."""
    if cell.tails is None:
        return generator.normal(size=shape)
    return generator.standard_t(cell.tails, shape) / np.sqrt(cell.tails / (cell.tails - 2))
