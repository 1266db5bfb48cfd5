"""The score of some classes: the sum of their probabilities, the same wherever it is asked for.

A sum of floating-point numbers depends on the order of its terms, and 0.7 + 0.1 is less than 0.8.
Report, operating point, bundle, tables and browser page compare such sums with one threshold, so
they all sum here (the browser page by the same rule, in `deployment/web/browser/answers.js`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput, nearest

DECIMALS = 12
SMALLEST_ROUNDED = 1e-6  # below, 12 decimals would tie scores that differ by orders of magnitude


def score_of(
    y_prob: npt.NDArray[np.floating], classes: Sequence[str], score: Sequence[str]
) -> Floats:
    """`(N,)` float64: the summed probability of the classes in `score`.

    The terms are added in the order of `classes`, the columns of `y_prob (N, K)`, whatever the
    order in `score`; the sum is rounded to 12 decimals, unless it is below 1e-6. The probability
    of a single class is no sum and stays as it is. `BadInput` where `score` is empty or names a
    class that is not predicted.

    >>> score_of(np.array([[0.1, 0.2, 0.7]]), ["bcc", "nv", "mel"], ["mel", "bcc"]).tolist()
    [0.8]
    """
    missing = [c for c in score if c not in classes]
    if missing:
        raise BadInput(
            f"the score's class '{missing[0]}' is not predicted",
            remedy=nearest(missing[0], classes),
        )
    if not score:
        raise BadInput("no class to score", remedy=nearest("", classes))
    columns = [k for k, name in enumerate(classes) if name in score]
    total = y_prob[:, columns[0]].astype(np.float64)
    for k in columns[1:]:
        total = total + y_prob[:, k]
    return total if len(columns) == 1 else _rounded(total)


def _rounded(total: Floats) -> Floats:
    return np.where(total < SMALLEST_ROUNDED, total, np.round(total, DECIMALS))
