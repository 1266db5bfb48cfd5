"""Single intervals, tests and rules on arrays: the statistics of `evaluate`, one at a time.

Arrays may be NumPy arrays, lists, pandas or polars columns, or torch tensors. `groups` are the
ids of what is resampled whole (patients, or lesions in a column named `lesion_id`); a case
without an id is a group of its own. All intervals are at 95 %: the fewest groups from which on
they hold were found by simulation at that level only (docs/coverage.md).
"""

from lesionlab.evaluation.conformal import Conformal
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.noninferiority import Noninferiority
from lesionlab.evaluation.operating_point import OperatingPoint, apply_operating_point
from lesionlab.stats.halves import calibration_half
from lesionlab.stats.ranking import (
    PairedDifference,
    auc_interval,
    noninferiority,
    paired_difference,
)
from lesionlab.stats.rules import (
    Calibration,
    calibrate,
    conformal,
    operating_point,
    prediction_sets,
)

__all__ = [
    "Calibration",
    "Conformal",
    "Measure",
    "Noninferiority",
    "OperatingPoint",
    "PairedDifference",
    "apply_operating_point",
    "auc_interval",
    "calibrate",
    "calibration_half",
    "conformal",
    "noninferiority",
    "operating_point",
    "paired_difference",
    "prediction_sets",
]
