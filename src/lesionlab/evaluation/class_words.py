"""A class by its word: the labels of one table beside the classes of another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lesionlab.data.taxonomy import counterparts, malignant_if_all_known
from lesionlab.evaluation.predictions import Predictions

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


def classes_of_words(words: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """The class that each word means by the taxonomy, where it is no class as it stands.

    >>> classes_of_words(["melanoma", "nv"], ["MEL", "NV"])
    {'melanoma': 'MEL'}
    """
    folded = {c.casefold() for c in classes}
    strange = sorted({w for w in words if w and w.casefold() not in folded})
    return {a: b for a, b in counterparts(strange, classes).items() if b is not None}


def classes_of_marks(classes: Sequence[str], positive: str = "") -> dict[str, str]:
    """What 0 and 1, false and true mean for two classes; empty where nobody says.

    The positive class is the one named, else the only malignant one by the taxonomy.

    >>> classes_of_marks(["malignant", "benign"])["1.0"]
    'malignant'
    """
    if len(classes) != 2:
        return {}
    marked = (positive,) if positive in classes else malignant_if_all_known(classes)
    if len(marked) != 1:
        return {}
    other = next(c for c in classes if c != marked[0])
    return {**dict.fromkeys(YES, marked[0]), **dict.fromkeys(NO, other)}


def in_words_of(
    labels: pd.Series, classes: Sequence[str], positive: str = ""
) -> tuple[pd.Series, list[str]]:
    """Labels as the classes of predictions, and what was read as what."""
    present = {v for v in labels if v}
    found = classes_of_words(present, classes)
    marks = classes_of_marks(classes, positive)
    if marks and present and {v.casefold() for v in present} <= marks.keys() - set(classes):
        found |= {v: marks[v.casefold()] for v in sorted(present)}
    return labels.map(lambda v: found.get(v, v)), [
        f"label '{a}' read as '{b}'" for a, b in found.items()
    ]


def same_classes(theirs: Sequence[str], ours: Sequence[str]) -> dict[str, str] | None:
    """Each of `theirs` by its word among `ours`, one to one; None where the classes differ.

    >>> same_classes(["melanoma", "nevus"], ["NV", "MEL"])
    {'melanoma': 'MEL', 'nevus': 'NV'}
    """
    folded = {c.casefold(): c for c in ours} if len({*map(str.casefold, ours)}) == len(ours) else {}
    found = {
        name: name if name in ours else folded.get(name.casefold()) or words
        for name, words in counterparts(theirs, ours).items()
    }
    named = {a: b for a, b in found.items() if b is not None}
    complete = len(named) == len(theirs) == len(ours) == len(set(named.values()))
    return named if complete else None


def in_classes(predictions: Predictions, wanted: Sequence[str]) -> Predictions | None:
    """The same rows with columns and labels in the order of `wanted`; None for other classes."""
    words = same_classes(predictions.classes, wanted)
    if words is None:
        return None
    named = [words[c] for c in predictions.classes]
    order = [named.index(c) for c in wanted]
    place = np.array([*(list(wanted).index(c) for c in named), -1], np.int64)
    return replace(
        predictions, classes=tuple(wanted), y_true=place[predictions.y_true],
        y_prob=predictions.y_prob[:, order], logits=None,
    )  # fmt: skip
