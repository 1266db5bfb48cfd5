"""The locked operating point: a threshold chosen once, on data that are not the test.

The score is the sum of the probabilities of some classes (the malignant ones); a case is
positive at score >= threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.intervals import (
    Measure,
    clustered_lower_bound,
    clustered_proportion,
    effective_groups,
    enough,
    proportion_measure,
)
from lesionlab.evaluation.policies import DEFAULT_POLICY, DEFAULT_TARGET, POLICIES
from lesionlab.evaluation.predictions import Predictions

CONFIDENCE = 0.95
REMEDY = "use more data, or ask for the point estimate (policy 'sensitivity')"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on a score, how it was chosen, and what it showed where it was chosen.

    `prior` is the prevalence {class: share} at which the probabilities hold, None if unknown;
    the threshold means nothing for probabilities at another prevalence.
    """

    policy: str
    target: float | None
    threshold: float
    score: tuple[str, ...]
    chosen_on: str
    prior: dict[str, float] | None
    positive_groups: int
    negative_groups: int
    sensitivity: Measure
    specificity: Measure

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back exactly."""
        return {
            "policy": self.policy,
            "target": self.target,
            "threshold": self.threshold,
            "score": list(self.score),
            "chosen_on": self.chosen_on,
            "prior": self.prior,
            "positive_groups": self.positive_groups,
            "negative_groups": self.negative_groups,
            "sensitivity": self.sensitivity.to_json(),
            "specificity": self.specificity.to_json(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> OperatingPoint:
        """The point that `to_json` wrote; `BadInput` where it is not one."""
        try:
            return OperatingPoint(
                **{
                    **value,
                    "score": tuple(value["score"]),
                    "sensitivity": Measure(**value["sensitivity"]),
                    "specificity": Measure(**value["specificity"]),
                }
            )
        except (TypeError, KeyError) as error:
            raise BadInput(f"not an operating point ({error})") from None


def apply_operating_point(
    point: OperatingPoint, y_prob: Floats, classes: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """`(N,)`: which cases are positive (score >= threshold)."""
    return np.asarray(score_of(y_prob, classes, point.score) >= point.threshold)


def choose_operating_point(
    predictions: Predictions,
    *,
    score: Sequence[str],
    chosen_on: str,
    policy: str = DEFAULT_POLICY,
    target: float | None = None,
    prior: Mapping[str, float] | None = None,
) -> OperatingPoint:
    """Choose a threshold on validation or calibration data.

    `score` names the classes that are summed; the cases labelled so are the positives. `target`:
    the sensitivity or specificity asked for (0.95 where not given), the cost ratio of `cost`
    (needed), or the threshold of `fixed` (needed). Refuses (`BadInput`): to choose on test;
    without cases of both kinds; and `sensitivity_bound` where no threshold that calls a case
    negative reaches the bound, as with fewer than 59 effective positive groups for 0.95
    (`intervals.effective_groups`).
    """
    if policy not in POLICIES:
        raise BadInput(f"no policy '{policy}'", remedy=nearest(policy, POLICIES))
    if chosen_on == "test" and policy != "fixed":
        raise BadInput(
            "an operating point is never chosen on test",
            remedy="choose it on valid or calib, or give a fixed threshold",
        )
    target = _checked_target(policy, target)
    known = predictions.labelled()
    values = score_of(known.y_prob, known.classes, score)
    names = np.array(known.classes, dtype=object)[known.y_true]
    positive = np.isin(names, list(score))
    if positive.all() or not positive.any():
        kind = "negative" if positive.all() else "positive"
        raise BadInput(f"no {kind} case to choose an operating point on", where=chosen_on)
    codes, _ = group_codes(known.groups)
    threshold = CHOOSERS[policy](values, positive, codes, target)
    scored = Scored(values, positive, codes)
    return _described(policy, target, threshold, tuple(score), chosen_on, prior, scored)


def default_operating_point(
    predictions: Predictions,
    *,
    score: Sequence[str],
    chosen_on: str,
    prior: Mapping[str, float] | None = None,
) -> tuple[OperatingPoint | None, str]:
    """The point that holds where nobody chose one; or None, and why it is withheld.

    It is withheld where no class is malignant, and where the data cannot keep the promise of the
    default policy, as with fewer than 59 effective positive groups. Report and bundle both ask
    here, so that a bundle never carries a decision that the report withheld.
    """
    if not score:
        return None, "no class is malignant"
    try:
        point = choose_operating_point(
            predictions, score=score, chosen_on=chosen_on, prior=prior,
            policy=DEFAULT_POLICY, target=DEFAULT_TARGET,
        )  # fmt: skip
    except BadInput as error:
        return None, str(error)
    return point, ""


def _checked_target(policy: str, target: float | None) -> float:
    if policy in ("cost", "fixed") and target is None:
        raise BadInput(f"the policy '{policy}' needs a target", remedy=POLICIES[policy])
    value = DEFAULT_TARGET if target is None else float(target)
    share = policy.startswith(("sensitivity", "specificity"))
    if not math.isfinite(value) or value < 0 or (share and not 0 < value < 1):
        raise BadInput(
            f"target {target} does not fit the policy '{policy}'", remedy=POLICIES[policy]
        )
    return value


@dataclass(frozen=True)
class Scored:
    """The score of each case, whether it is one of the positives, and its group's number; (N,)."""

    values: Floats
    positive: npt.NDArray[np.bool_]
    codes: Ints


def _described(
    policy: str,
    target: float,
    threshold: float,
    score: tuple[str, ...],
    chosen_on: str,
    prior: Mapping[str, float] | None,
    scored: Scored,
) -> OperatingPoint:
    positive, codes = scored.positive, scored.codes
    called = scored.values >= threshold
    return OperatingPoint(
        policy=policy,
        target=None if policy == "youden" else target,
        threshold=threshold,
        score=score,
        chosen_on=chosen_on,
        prior=None if prior is None else dict(prior),
        positive_groups=len(np.unique(codes[positive])),
        negative_groups=len(np.unique(codes[~positive])),
        sensitivity=proportion_measure(called & positive, positive, codes),
        specificity=proportion_measure(~called & ~positive, ~positive, codes),
    )


def groups_needed(target: float, confidence: float = CONFIDENCE) -> int:
    """How many positive groups of equal size, all found, put the bound at `target`: 59 for 0.95."""
    return math.ceil(math.log(1 - confidence) / math.log(target))


def _by_sensitivity_bound(
    values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float
) -> float:
    """From the lowest threshold upwards, until the bound first falls below the target.

    The stop at the first failure keeps the confidence at 95 % although many thresholds are
    looked at (fixed-sequence testing).
    """
    scores, own = values[positive], codes[positive]
    _refuse_few(own, target)

    def reached(threshold: float) -> bool:
        found = (scores >= threshold).astype(np.float64)
        share = clustered_proportion(found, np.ones(len(scores)), own)
        return clustered_lower_bound(share, CONFIDENCE) >= target

    best = float(list(takewhile(reached, np.unique(scores)))[-1])
    if values.min() >= best:
        raise BadInput(
            f"a lower bound of sensitivity of {target:g} is reached only where every case is"
            " called positive",
            where="operating point",
            remedy=REMEDY,
        )
    return between(values, best)


def _refuse_few(codes: Ints, target: float) -> None:
    """`BadInput` where the bound misses the target even if all positives `(N,)` are found.

    k further groups raise the effective number by k at most, so the number named is the least.
    """
    size = np.bincount(codes).astype(np.float64)
    found, worth, needed = int((size > 0).sum()), effective_groups(size), groups_needed(target)
    if enough(worth, needed):
        return
    equal = "" if worth > found - 1e-9 else f", worth {math.floor(10 * worth) / 10:g} of equal size"
    raise BadInput(
        f"{counted(found, 'positive group')}{equal}; a lower bound of sensitivity of {target:g}"
        f" needs {needed}, at least {math.ceil(needed - worth - 1e-9)} more",
        where="operating point",
        remedy=REMEDY,
    )


def _by_sensitivity(
    values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float
) -> float:
    scores = np.sort(values[positive])[::-1]
    needed = math.ceil(target * len(scores) - 1e-9)
    return between(values, float(scores[needed - 1]))


def _by_specificity(
    values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float
) -> float:
    """The lowest threshold that leaves at least this share of the negatives below it."""
    below = np.sort(values[~positive])
    needed = math.ceil(target * len(below) - 1e-9)
    higher = values[values > below[needed - 1]]
    if not len(higher):
        return float(np.nextafter(below[needed - 1], np.inf))
    return between(values, float(higher.min()))


def _by_youden(
    values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float
) -> float:
    thresholds, tp, fp = _sweep(values, positive)
    gain = tp / positive.sum() - fp / (~positive).sum()
    return between(values, float(thresholds[_last_best(gain)]))


def _by_cost(values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float) -> float:
    """At the data's own prevalence: target x misses + false alarms; may be "nobody"."""
    thresholds, tp, fp = _sweep(values, positive)
    saved = target * tp - fp
    best = _last_best(saved)
    if saved[best] < 0:
        return float(np.nextafter(values.max(), np.inf))
    return between(values, float(thresholds[best]))


def _fixed(values: Floats, positive: npt.NDArray[np.bool_], codes: Ints, target: float) -> float:
    return target


def _sweep(values: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Each distinct score from the highest down, with the cases at or above it."""
    order = np.argsort(-values, kind="stable")
    s, p = values[order], positive[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return s[ends], np.cumsum(p)[ends] * 1.0, np.cumsum(~p)[ends] * 1.0


def _last_best(gain: Floats) -> int:
    """The lowest threshold among equals: in doubt, sensitivity."""
    return int(np.flatnonzero(gain >= gain.max() - 1e-12)[-1])


def between(values: Floats, threshold: float) -> float:
    """Half way from `threshold`, an observed score, down to the next lower one.

    The same cases are positive, and rounding of the last digit changes none.
    """
    lower = values[values < threshold]
    if not len(lower):
        return min(threshold, max(threshold / 2, 0.0))
    middle = (threshold + float(lower.max())) / 2
    return middle if lower.max() < middle <= threshold else threshold


CHOOSERS: dict[str, Callable[[Floats, npt.NDArray[np.bool_], Ints, float], float]] = {
    "sensitivity_bound": _by_sensitivity_bound,
    "sensitivity": _by_sensitivity,
    "specificity": _by_specificity,
    "youden": _by_youden,
    "cost": _by_cost,
    "fixed": _fixed,
}
