"""Predictive values at the prevalence of use, from a sensitivity and a specificity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lesionlab.evaluation.intervals import Measure

Limits = tuple[float, float, float]
PREVALENCES = (0.001, 0.01, 0.02, 0.1)


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float, float]:
    """PPV and NPV at a prevalence in (0, 1), by Bayes; NaN where no case would be called so.

    >>> tuple(round(v, 3) for v in predictive_values(0.9, 0.8, 0.02))
    (0.084, 0.997)
    """
    tp, fn = sensitivity * prevalence, (1 - sensitivity) * prevalence
    fp, tn = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
    nan = float("nan")
    return (tp / (tp + fp) if tp + fp else nan), (tn / (tn + fn) if tn + fn else nan)


def ratio_interval(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> tuple[float, float]:
    """Limits of a / b from (value, low, high) of two independent quantities >= 0.

    MOVER-R (Donner and Zou, Stat Methods Med Res 2012). The upper limit is infinite where b may
    be 0.
    """
    (x, xl, xu), (y, yl, yu) = a, b
    low_root = max((x * y) ** 2 - xl * yu * (2 * x - xl) * (2 * y - yu), 0)
    low_base = yu * (2 * y - yu)
    low = (x * y - math.sqrt(low_root)) / low_base if low_base > 0 else 0.0
    high_root = max((x * y) ** 2 - xu * yl * (2 * x - xu) * (2 * y - yl), 0)
    high_base = yl * (2 * y - yl)
    high = (x * y + math.sqrt(high_root)) / high_base if high_base > 0 else math.inf
    return max(low, 0.0), high


def values_at(
    sensitivity: Measure, specificity: Measure, prevalences: Iterable[float]
) -> list[dict[str, Any]]:
    """PPV and NPV, as Measures in JSON, at each prevalence."""
    return [
        {
            "prevalence": p,
            "ppv": _ppv(sensitivity, specificity, p).to_json(),
            "npv": _npv(sensitivity, specificity, p).to_json(),
        }
        for p in prevalences
    ]


def ratio_limits(sensitivity: Measure, specificity: Measure) -> dict[str, Limits | None]:
    """`{ppv, npv}`: (value, low, high) of the ratio r in 1 / (1 + r x odds), at any prevalence.

    For PPV r = (1 - specificity) / sensitivity and the odds are those against disease; for NPV
    r = (1 - sensitivity) / specificity and the odds those of disease. None where an interval is
    missing; the upper limit may be infinite.
    """
    pairs = {
        "ppv": (_flip(specificity), _plain(sensitivity)),
        "npv": (_flip(sensitivity), _plain(specificity)),
    }
    found: dict[str, Limits | None] = {}
    for name, (part, whole) in pairs.items():
        if math.isnan(sum(part) + sum(whole)):
            found[name] = None
        else:
            value = part[0] / whole[0] if whole[0] else math.inf
            found[name] = (value, *ratio_interval(part, whole))
    return found


def _ppv(sensitivity: Measure, specificity: Measure, prevalence: float) -> Measure:
    """PPV = 1 / (1 + r (1 - prevalence) / prevalence) with r = (1 - specificity) / sensitivity."""
    return _value(
        _flip(specificity),
        _plain(sensitivity),
        (1 - prevalence) / prevalence,
        sensitivity.n + specificity.n,
    )


def _npv(sensitivity: Measure, specificity: Measure, prevalence: float) -> Measure:
    """NPV = 1 / (1 + r prevalence / (1 - prevalence)) with r = (1 - sensitivity) / specificity."""
    return _value(
        _flip(sensitivity),
        _plain(specificity),
        prevalence / (1 - prevalence),
        sensitivity.n + specificity.n,
    )


def _value(part: Limits, whole: Limits, odds: float, n: int) -> Measure:
    if math.isnan(part[0] + whole[0]) or part[0] + whole[0] == 0:
        return Measure(None, None, None, n, "undefined")
    value = whole[0] / (whole[0] + part[0] * odds)
    if math.isnan(sum(part) + sum(whole)):
        return Measure(value, None, None, n, "too few to say")
    low, high = ratio_interval(part, whole)
    return Measure(
        value,
        1 / (1 + high * odds),
        1 / (1 + low * odds),
        n,
        "Bayes at the stated prevalence, MOVER-R from the intervals of both",
    )


def _plain(m: Measure) -> Limits:
    nan = float("nan")
    low, high = (nan if v is None else v for v in (m.low, m.high))
    return (nan if m.value is None else m.value), low, high


def _flip(m: Measure) -> Limits:
    value, low, high = _plain(m)
    return 1 - value, 1 - high, 1 - low
