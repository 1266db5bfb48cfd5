"""Predictions of models on the same images, for comparisons."""

from __future__ import annotations

import numpy as np

from lesionlab.evaluation.compare import Comparison, compare_predictions
from lesionlab.evaluation.predictions import Predictions

TWO, THREE = ("benign", "malignant"), ("mel", "nv", "bkl")


def predictions(
    classes: tuple[str, ...],
    skill: float,
    seed: int,
    n: int = 120,
    patients: int | None = None,
) -> Predictions:
    """Predictions whose truth does not depend on the seed; images of a patient share an error."""
    y_true = np.random.default_rng([99, n]).integers(0, len(classes), n)
    rng = np.random.default_rng(seed)
    group = np.arange(n) if patients is None else np.arange(n) % patients
    shared = rng.normal(0, 1, (group.max() + 1, len(classes)))[group]
    z = skill * np.eye(len(classes))[y_true] + shared + rng.normal(0, 0.3, (n, len(classes)))
    prob = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    ids = np.array([f"i{k}" for k in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    owner = blank if patients is None else np.array([f"p{g}" for g in group], dtype=object)
    return Predictions(ids, owner, blank, classes, y_true, prob)


def compared(a: Predictions, b: Predictions, **options: object) -> Comparison:
    options.setdefault("resamples", 300)
    return compare_predictions([("a", a), ("b", b)], **options)  # type: ignore[arg-type]
