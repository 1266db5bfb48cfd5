"""Rules that are fitted on arrays: operating points, conformal sets, calibrations."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation import conformal as sets_of_classes
from lesionlab.evaluation.arrays import Array, numbers, plain_array
from lesionlab.evaluation.calibration import softmax
from lesionlab.evaluation.conformal import Conformal, fit_conformal
from lesionlab.evaluation.from_arrays import (
    Groups,
    Label,
    predictions_from_arrays,
    probability_rows,
)
from lesionlab.evaluation.operating_point import OperatingPoint, choose_operating_point
from lesionlab.evaluation.policies import DEFAULT_ALPHA, DEFAULT_POLICY
from lesionlab.evaluation.recalibration import HALVED, Calibrator, fit_calibrator

Chosen = Literal["valid", "calib", "test"]


def operating_point(
    y_true: Array,
    y_prob: Array,
    *,
    policy: str = DEFAULT_POLICY,
    target: float | None = None,
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
    split: Chosen = "valid",
) -> OperatingPoint:
    """Choose a threshold on the probability of the positive classes, on data that are not test.

    Parameters
    ----------
    y_true : (N,) labels
        Of cases on which no isotonic or Dirichlet map was fitted (`calibration_half`).
    y_prob : (N,) or (N, K) probabilities in [0, 1]
    policy : str
        "sensitivity_bound" (the one-sided 95 % lower bound of sensitivity is at least `target`),
        "sensitivity", "specificity" (the observed value is), "youden", "cost" (`target` is the
        cost of a miss in false alarms), or "fixed" (`target` is the threshold).
    target : float, optional
        Default 0.95 for sensitivities and specificity.
    groups, classes, positive : as for `lesionlab.evaluate`
    split : str
        Which part these data are; "test" is refused.

    Returns
    -------
    OperatingPoint
        `threshold` (a case is positive at score >= threshold), `sensitivity`, `specificity` with
        intervals where it was chosen, `to_json()`. `apply_operating_point` applies it.

    Raises
    ------
    BadInput
        On test; without cases of both kinds; and for "sensitivity_bound" where no threshold that
        calls a case negative reaches the bound. For 0.95 it takes 59 positive groups of equal
        size, more where sizes differ; the error says how many more at least.

    Notes
    -----
    The bound is that of Clopper and Pearson (Biometrika 1934) on the effective n, in which an
    effective group counts as one case at most (docs/decisions/0300); thresholds are tried from
    the lowest up to the first failure (fixed-sequence testing; docs/decisions/0031).

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import operating_point
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 300)
    >>> p = 1 / (1 + np.exp(-3 * (y - 0.5) - rng.normal(0, 1, 300)))
    >>> point = operating_point(y, p, target=0.9)
    >>> point.sensitivity.value > 0.9, 0 < point.threshold < 1
    (True, True)
    """
    read = predictions_from_arrays(
        y_true, y_prob, groups=groups, classes=classes, positive=positive
    )
    if not read.positive:
        raise BadInput("the positive classes are not known", remedy="name them: positive=[...]")
    return choose_operating_point(
        read.predictions, score=read.positive, chosen_on=split, policy=policy, target=target
    )


def conformal(
    y_true: Array,
    y_prob: Array,
    *,
    alpha: float = DEFAULT_ALPHA,
    method: str = "lac",
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
    rare: Literal["refuse", "include"] = "refuse",
    split: Chosen = "calib",
    seed: int = 0,
) -> Conformal:
    """Calibrate sets of classes that hold the truth in at least 1 - `alpha` of each class.

    Parameters
    ----------
    y_true : (N,) labels
        Of cases that training has not seen, and on which no isotonic or Dirichlet map was fitted
        (`calibration_half`). A temperature or Platt's map may have been.
    y_prob : (N,) or (N, K) probabilities in [0, 1]
    alpha : float in (0, 1)
        The share of each class that its sets may miss.
    method : str
        "lac" (Sadinle et al., JASA 2019), "aps" (Romano et al., NeurIPS 2020) or "raps"
        (Angelopoulos et al., ICLR 2021).
    groups, classes, positive : as for `lesionlab.evaluate`
        One case is drawn from each group and class, since siblings are not independent.
    rare : str
        A class with too few groups is refused, or with "include" in every set.
    split : str
        Which part these data are; "test" is refused.
    seed : int

    Returns
    -------
    Conformal
        The rule. `prediction_sets(rule, y_prob)` with (N, K) probabilities gives (N, K) booleans.

    Raises
    ------
    BadInput
        On test, and for a class with fewer groups than 1 / alpha - 1 (9 for 0.1).

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import conformal, prediction_sets
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 300)
    >>> z = rng.normal(0, 1, (300, 3)) + 2 * np.eye(3)[y]
    >>> p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    >>> rule = conformal(y[:150], p[:150], alpha=0.1)
    >>> sets = prediction_sets(rule, p[150:])
    >>> sets.shape, bool(sets[np.arange(150), y[150:]].mean() > 0.8)
    ((150, 3), True)
    """
    read = predictions_from_arrays(
        y_true, y_prob, groups=groups, classes=classes, positive=positive
    )
    return fit_conformal(
        read.predictions, calibrated_on=split, method=method, alpha=alpha, seed=seed, rare=rare
    )


def prediction_sets(rule: Conformal, y_prob: Array) -> npt.NDArray[np.bool_]:
    """Which classes are in the set of each case, by a rule of `conformal`.

    Parameters
    ----------
    rule : Conformal
    y_prob : (N, K) probabilities in [0, 1]
        A table's columns are read by name, others in the order of `rule.classes`.

    Returns
    -------
    (N, K) booleans, in the order of `rule.classes`

    Raises
    ------
    BadInput
        For another number of columns, and for what are no probabilities.

    Examples
    --------
    >>> from lesionlab.stats import Conformal, prediction_sets
    >>> rule = Conformal("lac", 0.1, ("nv", "mel"), (0.4, 0.7), (99, 99), 0, ())
    >>> prediction_sets(rule, [[0.9, 0.1], [0.6, 0.4]]).tolist()
    [[True, False], [True, True]]
    """
    plain, k = plain_array(y_prob, "y_prob"), len(rule.classes)
    if plain.values.shape[1:] != (k,):
        raise BadInput(
            f"its shape is {plain.values.shape}",
            where="y_prob",
            remedy=f"give (N, {k}) probabilities, of {', '.join(rule.classes)}",
        )
    return sets_of_classes.prediction_sets(rule, probability_rows(plain, rule.classes))


@dataclass(frozen=True)
class Calibration:
    """A fitted map of probabilities, and the cases that it was fitted on."""

    method: str
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    n: int
    fitted: Calibrator
    rows: tuple[bytes, ...] = field(default=(), repr=False, compare=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the fit: whether the labels determine a temperature."""
        return self.fitted.notes

    def apply(self, y_prob: Array) -> Floats:
        """Calibrated probabilities, in the shape of `y_prob`: (N,) or (N, K).

        The columns are those that the map was fitted on, a table's by name. Warns (`UserWarning`)
        where an isotonic or Dirichlet map is given the very cases that it was fitted on: no
        threshold and no sets hold their promise on these (`calibration_half`).
        """
        prob = plain_array(y_prob, "y_prob")
        k = 2 if prob.values.ndim == 1 else prob.values.shape[1]
        if k != len(self.classes):
            raise BadInput(
                f"it has {k} classes, but the calibration has {len(self.classes)}", where="y_prob"
            )
        rows = probability_rows(prob, self.classes, self.positive)
        if self.method in HALVED and self.rows and Counter(self.rows) <= Counter(_told(rows)):
            warnings.warn(
                f"these are the cases that the {self.method} map was fitted on: a threshold or "
                "sets that are calibrated on them promise too much; fit the map on one half "
                "(stats.calibration_half) and calibrate on the other",
                stacklevel=2,
            )
        found = self.fitted.apply(rows)
        if prob.values.ndim == 2:
            return found
        return found[:, 0 if self.positive == self.classes[:1] else 1]

    def to_json(self) -> dict[str, Any]:
        """The method and its fitted numbers, with the classes in their order."""
        return {**self.fitted.to_json(), "classes": list(self.classes), "n": self.n}


def _told(y_prob: Floats) -> tuple[bytes, ...]:
    """Each row of (N, K) probabilities, to be told from others."""
    return tuple(row.tobytes() for row in np.ascontiguousarray(y_prob))


def calibrate(
    y_true: Array,
    y_prob: Array | None = None,
    *,
    y_logit: Array | None = None,
    method: str = "temperature",
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
) -> Calibration:
    """Fit a map from probabilities to calibrated ones, on validation data, never on test.

    Where a threshold or sets are to be calibrated afterwards (`operating_point`, `conformal`),
    "isotonic" and "dirichlet" need other cases for it: `calibration_half` divides them. On the
    same cases the sensitivity bound and the coverage of the sets are less than they promise
    (docs/decisions/0311). "temperature" and "platt" may use the same cases.

    Parameters
    ----------
    y_true : (N,) labels
        Cases without a label are left out.
    y_prob : (N,) or (N, K) probabilities in [0, 1]
    y_logit : (N, K) logits, instead of `y_prob`
        Their softmax is taken; a temperature of the one is that of the other.
    method : str
        "temperature" (Guo et al., ICML 2017), "platt" (Platt 1999), "isotonic" (Zadrozny and
        Elkan, KDD 2002) or "dirichlet" (Kull et al., NeurIPS 2019).
    classes, positive : as for `lesionlab.evaluate`

    Returns
    -------
    Calibration
        `apply(y_prob)` gives calibrated probabilities of other cases, in the same shape; `notes`
        says where the labels do not determine the temperature.

    Raises
    ------
    BadInput
        For an unknown method, and where a class does not occur (all but temperature would guess).

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import calibrate
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 500)
    >>> z = 3 * (rng.normal(0, 1, (500, 3)) + np.eye(3)[y])  # three times too sure
    >>> found = calibrate(y, y_logit=z)
    >>> 2 < found.fitted.to_json()["temperature"] < 4
    True
    >>> bool(found.apply([[0.9, 0.05, 0.05]]).max() < 0.9)
    True
    """
    if (y_prob is None) == (y_logit is None):
        raise BadInput("give either y_prob or y_logit", where="calibrate")
    given = y_prob if y_prob is not None else _softmax(y_logit)
    assert given is not None
    read = predictions_from_arrays(y_true, given, classes=classes, positive=positive)
    p = read.predictions
    data = p.labelled()
    fitted = fit_calibrator(method, data.y_prob, data.y_true)
    rows = _told(data.y_prob)
    return Calibration(method, data.classes, read.positive, len(data), fitted, rows)


def _softmax(y_logit: Array | None) -> Floats | pd.DataFrame:
    """(N, K) probabilities of logits; a table keeps the names of its columns."""
    assert y_logit is not None
    plain = plain_array(y_logit, "y_logit")
    if plain.values.ndim != 2:
        raise BadInput("logits of all classes are needed, (N, K)", where="y_logit")
    found = softmax(numbers(plain))
    if plain.columns is None:
        return found
    names = [c.removeprefix("logit_") for c in plain.columns]
    return pd.DataFrame(found, columns=names, index=plain.index)
