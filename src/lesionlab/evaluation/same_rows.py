"""Rows that two sets of predictions share, told by label and probabilities where ids cannot tell.

Rounded probabilities agree by chance. How often they do is seen in each set by itself: a row that
has an equal among its own set would have found one in another set of the same kind too.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from lesionlab.evaluation.predictions import Predictions

# A share of copies s lifts an accuracy by at most s times the gap between seen and unseen cases.
# Below a twentieth that is less than the intervals of any set of this field are wide, and copies
# of a few images are what the audit is for.
NOTABLE = 0.05
ERRORS = 3.0  # standard errors that the chance of an equal row may lie above what is seen
UNLIKELY = 1e-3  # that chance alone gives as many equal rows
Row = tuple[float, ...]


@dataclass(frozen=True)
class SameRows:
    """How many of the measured rows occur in the other set, and what that means.

    `all`: one set is contained in the other. `notable`: more than rounding explains.
    """

    rows: int
    of: int
    all: bool
    notable: bool


def same_rows(calibrating: Predictions, measured: Predictions) -> SameRows:
    """Compare the labelled rows of both, which have the same classes in the same order."""
    theirs, ours = _keys(calibrating), _keys(measured)
    if not theirs or not ours:
        return SameRows(0, len(ours), all=False, notable=False)
    # The chance of an equal in `theirs` is that of a row of `theirs` among the others of it.
    rows, inside, some = _found(ours, theirs)
    _, around, any_back = _found(theirs, ours)
    return SameRows(
        rows, len(ours), all=inside or around, notable=some or any_back or theirs == ours
    )


def _found(rows: list[Row], among: list[Row]) -> tuple[int, bool, bool]:
    """How many `rows` have an equal `among` others; whether all, or more than chance gives."""
    there = Counter(among)
    found = sum(row in there for row in rows)
    repeated = sum(n for n in there.values() if n > 1)
    # Laplace's rule: no repeat among a few rows does not mean that there is no chance of one.
    chance = (repeated + 1) / (len(among) + 2)
    # At most, in reason: rows repeat in pairs, so that half as many tell.
    chance = min(1.0, chance + ERRORS * math.sqrt(chance * (1 - chance) / (len(among) / 2)))
    share = found / len(rows)
    unlikely = float(binom.sf(found - 1, len(rows), chance)) < UNLIKELY
    return found, unlikely and share == 1, unlikely and share - chance > NOTABLE


def _keys(p: Predictions) -> list[Row]:
    """Label and probabilities; the first follows from the others, and may be 1 minus them.

    As float32: one side may have been stored so.
    """
    known = p.is_labelled
    rows = np.column_stack([p.y_true[known], p.y_prob[known, 1:].astype(np.float32)])
    return [tuple(row) for row in rows.tolist()]
