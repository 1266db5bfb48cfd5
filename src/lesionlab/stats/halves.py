"""Which cases fit a map of probabilities, and which are kept for the rules on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.arrays import Array
from lesionlab.evaluation.from_arrays import Groups, Label, predictions_from_arrays
from lesionlab.evaluation.halves import first_half


def calibration_half(
    y_true: Array,
    y_prob: Array,
    *,
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
) -> npt.NDArray[np.bool_]:
    """Which cases shall fit a map; the others choose a threshold or calibrate sets on it.

    An isotonic or Dirichlet map fits its own cases too well: a sensitivity bound or sets that are
    calibrated on the same cases promise too much (docs/decisions/0311). `lesionlab.evaluate`
    divides `calib` in the same way.

    Parameters
    ----------
    y_true : (N,) labels
    y_prob : (N,) or (N, K) probabilities in [0, 1]
    groups, classes, positive : as for `lesionlab.evaluate`
        A group is whole in one half, and each half has half of the groups of each class.

    Returns
    -------
    (N,) booleans
        True for the half that fits the map; False for the other half, and without a label. The
        order of the cases changes nothing.

    Raises
    ------
    BadInput
        For what are no labels or probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab import stats
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 400)
    >>> p = 1 / (1 + np.exp(-3 * (y - 0.5) - rng.normal(0, 1, 400)))
    >>> fits = stats.calibration_half(y, p)
    >>> found = stats.calibrate(y[fits], p[fits], method="isotonic")
    >>> rule = stats.conformal(y[~fits], found.apply(p[~fits]))
    >>> int(fits.sum()), sum(rule.groups)
    (200, 200)
    """
    read = predictions_from_arrays(
        y_true, y_prob, groups=groups, classes=classes, positive=positive
    ).predictions
    fits = np.zeros(len(read), bool)
    known = np.flatnonzero(read.is_labelled)
    fits[known] = first_half(read.take(known))
    return fits
