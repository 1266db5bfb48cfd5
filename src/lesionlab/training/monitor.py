"""What is watched on validation at the end of each epoch: always in float32, always whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.calibration import probabilities
from lesionlab.evaluation.metric_table import METRICS
from lesionlab.evaluation.metrics import nll

FALLS = ("valid_loss",)  # better when lower; every other one is better when higher
WATCHED = {
    f"valid_{name}": metric.watched
    for name, metric in METRICS.items()
    if metric.watched is not None
}
MONITORS = ("valid_loss", *WATCHED)


def default_monitor(classes: int) -> str:
    """AUC for two classes, balanced accuracy for more: at a uniform prior, since the argmax at
    the data's own prevalence hides the rare classes."""
    return "valid_roc_auc" if classes == 2 else "valid_balanced_accuracy_prior_corrected"


def checked_monitor(name: str | None, classes: int) -> str:
    """The monitor asked for, or the default; `BadInput` for an unknown one."""
    if name is None:
        return default_monitor(classes)
    full = name if name.startswith("valid_") else f"valid_{name}"
    if full not in MONITORS:
        raise BadInput(f"unknown monitor '{name}'", where="monitor", remedy=nearest(full, MONITORS))
    return full


def refuse_undefined(monitor: str, y_true: Ints, classes: Sequence[str]) -> None:
    """`BadInput` for a monitor that these validation labels leave undefined, whatever is trained.

    `y_true` are the classes of the validation part.
    """
    prior = np.full(len(classes), 1 / len(classes))
    blind = np.zeros((len(y_true), len(classes)), np.float32)
    if not math.isnan(watch(blind, y_true, prior, prior)[monitor]):
        return
    absent = next(c for k, c in enumerate(classes) if k not in y_true)
    raise BadInput(
        f"class '{absent}' has no validation image, so {monitor} is undefined",
        where="monitor",
        remedy="split again, or choose another monitor",
    )


def watch(
    logits: npt.NDArray[np.float32], y_true: Ints, prior: Floats, train_prior: Floats
) -> dict[str, float]:
    """The monitors of one epoch, at temperature 1. Loss is the NLL at the data's prevalence.

    Logits that are not finite give NaN everywhere, which is never "best".
    """
    if not np.isfinite(logits).all():
        return dict.fromkeys(MONITORS, math.nan)
    y_prob = probabilities(logits.astype(np.float64), 1.0, prior, train_prior)
    values = {name: metric(y_true, y_prob, prior) for name, metric in WATCHED.items()}
    return {"valid_loss": nll(y_true, y_prob), **values}


def is_better(name: str, value: float, best: float | None) -> bool:
    """Whether `value` beats `best`; NaN never does."""
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best if name in FALLS else value > best


def rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """For a history row: six digits, NaN as an empty cell."""
    return {k: None if math.isnan(v) else round(v, 6) for k, v in values.items()}
