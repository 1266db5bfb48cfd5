"""Sets of classes that hold the truth in at least 1 - alpha of the cases of each class.

Split conformal prediction, class by class (Mondrian). The promise is for a new group (patient,
else lesion) like those that calibrated, one image each, and an average over calibrations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.intervals import MINIMUM_GROUPS, proportion_measure, weighted_mean_measure
from lesionlab.evaluation.policies import DEFAULT_ALPHA
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.units import Unit, to_unit

DEFAULT_METHOD = "lac"
ROUNDING = 1e-9  # sums of probabilities reach 1 only up to rounding
RAPS_PENALTY, RAPS_FREE = 0.01, 2  # added for each rank beyond the second


@dataclass(frozen=True)
class Conformal:
    """A calibrated rule: class k is in the set where its score is at most `quantile[k]`.

    `quantile` is infinite for a class that is always in the set (too few groups to calibrate).
    `groups` counts the calibration groups of each class.
    """

    method: str
    alpha: float
    classes: tuple[str, ...]
    quantile: tuple[float, ...]
    groups: tuple[int, ...]
    seed: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; an infinite quantile is null."""
        return {
            "method": self.method,
            "alpha": self.alpha,
            "classes": list(self.classes),
            "quantile": [None if math.isinf(q) else q for q in self.quantile],
            "groups": list(self.groups),
            "seed": self.seed,
            "warnings": list(self.warnings),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Conformal:
        """The rule that `to_json` wrote; `BadInput` where it is not one."""
        try:
            return Conformal(
                method=str(value["method"]),
                alpha=float(value["alpha"]),
                classes=tuple(value["classes"]),
                quantile=tuple(math.inf if q is None else float(q) for q in value["quantile"]),
                groups=tuple(value["groups"]),
                seed=int(value["seed"]),
                warnings=tuple(value["warnings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a conformal rule ({error})") from None


def lac_scores(y_prob: Floats) -> Floats:
    """`(N, K)` 1 - p: the smallest sets on average, which may be empty (Sadinle et al. 2019)."""
    return 1 - y_prob


def aps_scores(y_prob: Floats) -> Floats:
    """`(N, K)` probability of all classes at least as likely (Romano et al. 2020)."""
    order = np.argsort(-y_prob, axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(y_prob, order, axis=1), axis=1)
    scores = np.empty_like(total)
    np.put_along_axis(scores, order, total, axis=1)
    return scores


def raps_scores(y_prob: Floats) -> Floats:
    """`(N, K)` as APS, plus 0.01 for each rank beyond the second (Angelopoulos et al. 2021)."""
    order = np.argsort(-y_prob, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable") + 1
    return aps_scores(y_prob) + RAPS_PENALTY * np.maximum(rank - RAPS_FREE, 0)


SCORES: dict[str, Callable[[Floats], Floats]] = {
    "lac": lac_scores,
    "aps": aps_scores,
    "raps": raps_scores,
}


def groups_needed(alpha: float) -> int:
    """The fewest calibration groups for a finite quantile: 9 for 0.1, 19 for 0.05."""
    return math.ceil(1 / alpha - 1e-9) - 1


def conformal_quantile(scores: Floats, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest score; infinite where there is none."""
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def fit_conformal(
    predictions: Predictions,
    *,
    calibrated_on: str,
    method: str = "lac",
    alpha: float = DEFAULT_ALPHA,
    seed: int = 0,
    rare: Literal["refuse", "include"] = "refuse",
) -> Conformal:
    """Calibrate sets on data that training has not seen, nor an isotonic or Dirichlet map.

    A temperature or Platt's map may have been fitted on them (docs/decisions/0311).
    One image a group and class is drawn (by `seed`), since siblings are not independent.
    A class with fewer groups than `groups_needed(alpha)` is refused with `BadInput`, or, with
    `rare="include"`, is in every set; up to twice that number there is a warning (the quantile
    is the largest score). Calibrating on test is refused.
    """
    if method not in SCORES:
        raise BadInput(f"no conformal method '{method}'", remedy=nearest(method, SCORES))
    if not 0 < alpha < 1:
        raise BadInput(f"alpha {alpha} lies outside (0, 1)", where="conformal")
    if calibrated_on == "test":
        raise BadInput(
            "conformal sets are never calibrated on test", remedy="use the part calib or valid"
        )
    known = predictions.labelled()
    rows = one_a_group(known, seed)
    scores = SCORES[method](known.y_prob[rows])
    truth, needed = known.y_true[rows], groups_needed(alpha)
    quantiles, counts, warnings = [], [], []
    for k, name in enumerate(known.classes):
        own = scores[truth == k, k]
        if len(own) < needed and rare == "refuse":
            raise BadInput(
                f"class '{name}' has {counted(len(own), 'group')} on {calibrated_on}; alpha "
                f"{alpha:g} needs"
                f" {needed}",
                where="conformal",
                remedy="use more calibration data, a larger alpha, or rare='include'",
            )
        if len(own) < needed:
            warnings.append(
                f"{name}: {counted(len(own), 'group is', 'groups are')} too few, it is in every set"
            )
        elif len(own) <= 2 * needed:
            warnings.append(
                f"{name}: only {counted(len(own), 'group')}, its sets are wide and uncertain"
            )
        quantiles.append(conformal_quantile(own, alpha))
        counts.append(len(own))
    return Conformal(
        method, alpha, known.classes, tuple(quantiles), tuple(counts), seed, tuple(warnings)
    )


def one_a_group(predictions: Predictions, seed: int) -> Ints:
    """Row numbers, ascending: one image drawn from each group and class."""
    codes, _ = group_codes(predictions.groups)
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(codes))
    cell = codes[order] * len(predictions.classes) + predictions.y_true[order]
    return np.asarray(np.sort(order[np.unique(cell, return_index=True)[1]]), np.int64)


def prediction_sets(rule: Conformal, y_prob: Floats) -> npt.NDArray[np.bool_]:
    """`(N, K)`: which classes are in the set of each case.

    By `aps` and `raps` the most probable class is always in it, which only adds to the coverage:
    a very sure case may score above every quantile.
    """
    scores = SCORES[rule.method](np.asarray(y_prob, np.float64))
    sets = np.asarray(scores <= np.array(rule.quantile) + ROUNDING)
    if rule.method != "lac":
        sets[np.arange(len(sets)), np.asarray(y_prob).argmax(axis=1)] = True
    return sets


def measure_sets(rule: Conformal, predictions: Predictions) -> dict[str, Any]:
    """Achieved coverage and sizes on other data, overall and by class of the truth, as JSON."""
    if rule.classes != predictions.classes:
        raise BadInput("the classes differ from those of the conformal rule", where="conformal")
    known = predictions.labelled()
    codes, _ = group_codes(known.groups)
    sets = prediction_sets(rule, known.y_prob)
    covered, size = sets[np.arange(len(known)), known.y_true], sets.sum(1)

    def summary(rows: npt.NDArray[np.bool_]) -> dict[str, Any]:
        sizes = np.bincount(size[rows], minlength=len(rule.classes) + 1)
        return {
            "coverage": proportion_measure(covered & rows, rows, codes).to_json(),
            "mean_size": float(size[rows].mean()) if rows.any() else None,
            "size": weighted_mean_measure(
                size.astype(np.float64),
                rows.astype(np.float64),
                codes,
                needed=MINIMUM_GROUPS["proportion"],
                bounds=(0.0, float(len(rule.classes))),
            ).to_json(),
            "sizes": sizes.tolist(),
        }

    return {
        "rule": rule.to_json(),
        "target": 1 - rule.alpha,
        **summary(np.ones(len(known), bool)),
        "classes": {n: summary(known.y_true == k) for k, n in enumerate(rule.classes)},
    }


@dataclass(frozen=True)
class SetOptions:
    """Which prediction sets are wanted: the default ones where `method` is None, none for "none".

    `alpha` is the proportion of each class that its sets may miss. `rare`: a class with too few
    groups to calibrate is refused, or is in every set.
    """

    method: str | None = None
    alpha: float = DEFAULT_ALPHA
    rare: Literal["refuse", "include"] = "refuse"


def sets_of(subject: Subject, asked: SetOptions, unit: Unit, seed: int) -> dict[str, Any] | None:
    """Achieved coverage and sizes of conformal sets, by class; None where there is nothing to say.

    They are calibrated on validation (or the calibration part) and measured on another part;
    without one there are none. What calibration refuses (too few lesions of a class) is raised
    where a method was asked for, else given as `{"refused": why}`; with `rare="include"` such a
    class is in every set.
    """
    method, alpha = asked.method, asked.alpha
    if method == "none":
        return None
    if subject.chooser is None or subject.chooser[0] == subject.part:
        if method is None:
            return None
        raise BadInput(
            f"sets cannot be evaluated on the data that calibrate them ('{subject.part}')",
            where=subject.wording("sets"),
            remedy=_where_to_measure(subject),
        )
    if not 0 < alpha < 1:
        raise BadInput(f"{alpha} lies outside (0, 1)", where=subject.wording("alpha"))
    name, calibrating = subject.chooser
    try:
        rule = fit_conformal(
            _units(calibrating, unit, subject.malignant),
            calibrated_on=name, method=method or DEFAULT_METHOD, alpha=alpha, seed=seed,
            rare=asked.rare,
        )  # fmt: skip
    except BadInput as error:
        refusal = BadInput(str(error), remedy=subject.advice)
        if method is not None:
            raise refusal from None
        return {"calibrated_on": name, "refused": str(refusal)}
    found = measure_sets(rule, _units(subject.predictions, unit, subject.malignant))
    return {"calibrated_on": name} | found


def _where_to_measure(subject: Subject) -> str:
    if subject.run is not None:
        return "evaluate another part of the run"
    return f"give other cases that calibrate them: {subject.wording('calib')}"


def _units(predictions: Predictions, unit: Unit, malignant: tuple[str, ...]) -> Predictions:
    return to_unit(predictions.labelled(), unit, malignant)
