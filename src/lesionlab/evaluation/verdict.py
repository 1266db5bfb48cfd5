"""What a paired difference allows to say, in words: never more than its interval and its test."""

from __future__ import annotations

import math

from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.primary import Primary

SIGNIFICANCE = 0.05


def verdict(
    metric: Primary,
    names: tuple[str, str],
    d: Measure,
    p: float,
    *,
    discordant: bool = True,
    alpha: float = SIGNIFICANCE,
) -> str:
    """Who is better, or which difference is excluded.

    `d` is the first model minus the second; `p` is adjusted over the pairs; `discordant` says
    whether any case tells the models apart.
    """
    what = metric.name.replace("_", " ")
    if d.value is None or d.low is None or d.high is None:
        return f"too few to say which is better by {what}"
    if not discordant:
        return f"not distinguishable: no case tells them apart by {what}; nothing is excluded"
    apart, significant = d.low > 0 or d.high < 0, p <= alpha
    told = f"{what} {_differs(d.value, d.low, d.high)}"
    if apart and significant:
        return f"{better(metric, names, d.value)} is better: {told}"
    if apart or significant:
        return f"undecided: {told}, {_disagreement(apart, p)}"
    bound = upwards(max(abs(d.low), abs(d.high)))
    return f"not distinguishable; a difference in {what} above {bound} is excluded"


def better(metric: Primary, names: tuple[str, str], value: float) -> str:
    """The name of the model with the better value."""
    return names[0] if (value > 0) == metric.higher_is_better else names[1]


def _differs(value: float, low: float, high: float) -> str:
    """The difference as a positive number, with both limits as they are."""
    if value < 0:
        low, high = -high, -low
    return f"differs by {abs(value):.3f} (95 % interval {_number(low)} to {_number(high)})"


def _disagreement(apart: bool, p: float) -> str:
    side = "does not contain 0" if apart else "contains 0"
    return f"the interval {side}, but the test gives {p_text(p)}"


def _number(value: float) -> str:
    """Three decimals; more where that would hide on which side of 0 a limit lies."""
    for digits in (3, 4, 6):
        text = f"{value:.{digits}f}"
        if float(text) != 0 or value == 0:
            return text
    return f"{value:.1e}"


def upwards(value: float) -> str:
    """At least three decimals, rounded up: a bound must not be printed as less than it is.

    >>> upwards(0.0324), upwards(0.03), upwards(0.00041)
    ('0.033', '0.030', '0.0005')
    """
    for digits in (3, 4, 6):
        rounded = math.ceil(value * 10**digits - 1e-9) / 10**digits
        if value * 10**digits >= 1 or value <= 0:
            return f"{rounded:.{digits}f}"
    return f"{value:.1e}"


def p_text(p: float) -> str:
    """`p = 0.031`, or `p < 0.001`: a p-value is never 0."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
