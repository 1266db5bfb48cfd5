"""Is a new model worse than a reference by less than a margin? One-sided, by the paired interval.

The margin is declared beforehand, in the units of the metric. The new model is non-inferior where
the 97.5 % one-sided limit of its difference from the reference lies within the margin (ICH E9,
1998; Piaggio et al., JAMA 2012), which is the limit of the two-sided 95 % interval. Groups count
as they do there. That p is small says nothing of superiority.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lesionlab.errors import BadInput
from lesionlab.evaluation.difference import Difference, simultaneous
from lesionlab.evaluation.limits import LEVEL
from lesionlab.evaluation.primary import Primary

STEPS = 60  # halvings of the level when a p-value is sought


@dataclass(frozen=True)
class Noninferiority:
    """The test of one new model against the reference.

    `difference` is new minus reference, turned so that positive is better; `limit` its one-sided
    lower limit at `confidence`. `noninferior` and `p_value` are None where there is too little
    to say.
    """

    new: str
    reference: str
    margin: float
    difference: float
    limit: float | None
    confidence: float
    p_value: float | None
    noninferior: bool | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dict(vars(self))


def checked_margin(margin: float) -> float:
    """The margin; `BadInput` unless it is a positive number."""
    if not math.isfinite(margin) or margin <= 0:
        raise BadInput(
            f"the margin {margin:g} is not above 0",
            where="non-inferiority",
            remedy="give the largest loss that would still be acceptable, such as 0.02",
        )
    return margin


def noninferiority(
    metric: Primary,
    names: tuple[str, str],
    d: Difference,
    margin: float,
    *,
    comparisons: int = 1,
) -> Noninferiority:
    """Test the new model of a pair; `names` are (reference, new), `d` is reference minus new.

    With several new models (`comparisons`) the limits hold together (Bonferroni).
    """
    sign = -1 if metric.higher_is_better else 1  # the difference, so turned that more is better
    reference, new = names
    level = simultaneous(LEVEL, comparisons)
    value, limit = sign * d.value, _worst(d, sign, level)
    confidence = (1 + level) / 2
    if math.isnan(limit):
        said = f"too few to say whether {new} is non-inferior to {reference}"
        return Noninferiority(new, reference, margin, value, None, confidence, None, None, said)
    holds = limit > -margin
    p = min(1.0, comparisons * _p_value(d, sign, margin))
    said = _sentence(metric, names, (value, limit, margin, confidence), holds)
    return Noninferiority(new, reference, margin, value, limit, confidence, p, holds, said)


def _worst(d: Difference, sign: int, level: float) -> float:
    """The limit on the side of the new model being worse."""
    limits = d.limits(level)
    return limits.low if sign > 0 else -limits.high


def _best(d: Difference, sign: int, level: float) -> float:
    limits = d.limits(level)
    return limits.high if sign > 0 else -limits.low


def _p_value(d: Difference, sign: int, margin: float) -> float:
    """The one-sided error at which the limit would just reach the margin."""
    inside = sign * d.value > -margin
    low, high = 0.0, 1.0  # two-sided levels: the limit moves outwards as the level grows
    for _ in range(STEPS):
        middle = (low + high) / 2
        edge = _worst(d, sign, middle) if inside else _best(d, sign, middle)
        beyond = edge <= -margin if inside else edge >= -margin
        low, high = (low, middle) if beyond else (middle, high)
    tail = (1 - low) / 2
    return tail if inside else 1 - tail


def _sentence(
    metric: Primary,
    names: tuple[str, str],
    numbers: tuple[float, float, float, float],
    holds: bool,
) -> str:
    reference, new = names
    value, limit, margin, confidence = numbers
    what = metric.name.replace("_", " ")
    is_ = "is" if holds else "is not shown to be"
    return (
        f"{new} {is_} non-inferior to {reference} by {what} with the margin {margin:g}: it is "
        f"{'better' if value > 0 else 'worse'} by {abs(value):.3f}, and "
        f"{_at_most(limit)} (one-sided {confidence * 100:.4g} % limit)"
    )


def _at_most(limit: float) -> str:
    if limit >= 0:
        return f"better by at least {limit:.3f}"
    return f"worse by at most {-limit:.3f}"
