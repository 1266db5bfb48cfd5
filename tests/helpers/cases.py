"""Cases to be measured: drawn at random, or from a few rows written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers.tables import predicted
from lesionlab.evaluation import metrics
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.evaluate import cases_of


def drawn(groups: int = 60, per_group: int = 3, seed: int = 0, ties: bool = False) -> Cases:
    """Three classes in groups of equal size, the scores better than chance."""
    generator = np.random.default_rng(seed)
    n = groups * per_group
    y_true = generator.integers(0, 3, n)
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), y_true] += 1
    y_prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if ties:
        y_prob = np.round(y_prob, 1)
    codes = generator.permutation(np.repeat(np.arange(groups), per_group))
    names = ("a", "b", "c")
    scores = {name: (y_true == k, y_prob[:, k]) for k, name in enumerate(names)}
    prior = np.array([0.6, 0.3, 0.1])
    return Cases(
        names, y_true, y_prob, metrics.decide(y_prob), metrics.decide(y_prob, prior), codes,
        groups, scores, frozenset({"a"}),
    )  # fmt: skip


def by_hand(
    y_true: Sequence[int],
    y_prob: Sequence[Sequence[float]],
    patients: Sequence[str] | None = None,
    malignant: tuple[str, ...] = (),
    prior: Sequence[float] | None = None,
) -> Cases:
    """The cases of such a predictions table; each its own patient where none are given."""
    names = [f"p{k}" for k in range(len(y_true))] if patients is None else list(patients)
    table = predicted(list(y_true), [list(row) for row in y_prob], names)
    return cases_of(table, malignant, None if prior is None else np.array(prior))
