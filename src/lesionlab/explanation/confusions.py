"""Confusion read aloud: which pairs of classes carry the errors, with counts and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.intervals import Measure, proportion_measure
from lesionlab.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for one another.

    `first_as_second` and back are shares of the images that truly are of the class; `of_errors`
    is this pair's share of all errors. The counts stand in `count` and `back`.
    """

    first: str
    second: str
    count: int  # first called second
    back: int  # second called first
    first_as_second: Measure
    second_as_first: Measure
    of_errors: Measure


def confused_pairs(predictions: Predictions) -> tuple[ConfusedPair, ...]:
    """All pairs with an error, the most frequent first; `first` is the class that loses more."""
    known = predictions.labelled()
    truth, called = known.y_true, known.y_prob.argmax(1)
    codes, _ = group_codes(known.groups)
    wrong = truth != called
    pairs = []
    for a in range(len(known.classes)):
        for b in range(a + 1, len(known.classes)):
            there, back = (truth == a) & (called == b), (truth == b) & (called == a)
            if not (there | back).any():
                continue
            sides = [(a, b, there), (b, a, back)]
            sides.sort(key=lambda side: -int(side[2].sum()))
            (i, j, more), (_, _, less) = sides
            pairs.append(
                ConfusedPair(
                    known.classes[i],
                    known.classes[j],
                    int(more.sum()),
                    int(less.sum()),
                    proportion_measure(more, truth == i, codes),
                    proportion_measure(less, truth == j, codes),
                    proportion_measure(there | back, wrong, codes),
                )
            )
    return tuple(sorted(pairs, key=lambda p: -(p.count + p.back)))


def errors(predictions: Predictions) -> tuple[int, int]:
    """How many images are called wrongly, and of how many."""
    known = predictions.labelled()
    return int(np.sum(known.y_true != known.y_prob.argmax(1))), len(known)
