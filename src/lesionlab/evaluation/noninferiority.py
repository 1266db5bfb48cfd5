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
from lesionlab.evaluation.metric_table import bounds_of
from lesionlab.evaluation.primary import Primary

ALPHA = (1 - LEVEL) / 2  # one-sided
STEPS = 60  # halvings of the level when a p-value is sought


@dataclass(frozen=True)
class Noninferiority:
    """The test of one new model against the reference.

    `difference` is new minus reference, turned so that positive is better; `limit` its one-sided
    lower limit at `confidence`. `p_value` is adjusted for the number of `comparisons`; the new
    model is non-inferior where it is at most 0.025. `noninferior` and `p_value` are None where
    there is too little to say, or no case tells the models apart.
    """

    new: str
    reference: str
    margin: float
    difference: float
    limit: float | None
    confidence: float
    comparisons: int
    p_value: float | None
    noninferior: bool | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dict(vars(self))


def checked_margin(margin: Any, metric: Primary) -> float:
    """The margin; `BadInput` unless it is a number above 0 and below the metric's range."""
    number = isinstance(margin, int | float) and not isinstance(margin, bool)
    low, high = bounds_of(metric.statistic)
    if not number or not math.isfinite(margin) or not 0 < margin < high - low:
        most = f" and below {high - low:g}" if math.isfinite(high - low) else ""
        raise BadInput(
            f"the margin {margin!r} is not a number above 0{most}",
            where="non-inferiority",
            remedy="give the largest loss that would still be acceptable, such as 0.02",
        )
    return float(margin)


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
    value, limit, confidence = sign * d.value, _worst(d, sign, level), (1 + level) / 2

    def told(limit: float | None, p: float | None, holds: bool | None, said: str) -> Noninferiority:
        return Noninferiority(
            new, reference, margin, value, limit, confidence, comparisons, p, holds, said
        )

    if math.isnan(limit):
        return told(
            None, None, None, f"too few to say whether {new} is non-inferior to {reference}"
        )
    if not d.discordant:
        said = f"no case tells {new} from {reference}: that it is non-inferior is not shown"
        return told(limit, None, None, said)
    holds = limit > -margin
    p = min(1.0, comparisons * _p_value(d, sign, margin))
    p = min(p, ALPHA) if holds else max(p, ALPHA)  # the limit decides, to the last digit
    return told(
        limit, p, holds, _sentence(metric, names, (value, limit, margin, confidence), holds)
    )


def _worst(d: Difference, sign: int, level: float) -> float:
    """The limit on the side of the new model being worse."""
    limits = d.limits(level)
    return limits.low if sign > 0 else -limits.high


def _p_value(d: Difference, sign: int, margin: float) -> float:
    """The one-sided error at which the limit would just reach the margin."""
    inside = sign * d.value > -margin
    low, high = 0.0, 1 - 1e-12  # two-sided levels: the limit moves outwards as the level grows
    for _ in range(STEPS):
        middle = (low + high) / 2
        edge = _worst(d, sign, middle) if inside else -_worst(d, -sign, middle)
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
        f"{new} {is_} non-inferior to {reference} by {what} with the margin {margin:g}: the "
        f"difference is {value:+.3f} (above 0: {new} is better), its one-sided "
        f"{confidence * 100:.4g} % limit {math.floor(limit * 1000 + 1e-9) / 1000:+.3f}"
    )
