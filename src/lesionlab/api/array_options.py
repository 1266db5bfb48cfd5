"""The options of `lesionlab.evaluate(y_true=...)`, checked before anything is measured.

A value of another type would be refused deep inside, by Python's words and not by the option's.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np

from lesionlab.data.split_names import SPLITS
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.conformal import SCORES
from lesionlab.evaluation.policies import POLICIES
from lesionlab.evaluation.recalibration import CALIBRATORS
from lesionlab.evaluation.units import AGGREGATION

Check = Callable[[str, object], None]


def check_options(**given: object) -> None:
    """Raise `BadInput`, naming the option and what it may be, at the first that is of no use."""
    for name, value in given.items():
        CHECKS[name](name, value)


def shares(name: str, values: object, remedy: str) -> np.ndarray:
    """A list of finite numbers as (N,) float64."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise _wrong(name, values, remedy)
    try:
        given = list(values)
    except TypeError:  # an array without a dimension
        raise _wrong(name, values, remedy) from None
    for value in given:
        if not _is_number(value):
            raise BadInput(f"{_shown(value)} is not a finite number", where=name, remedy=remedy)
    return np.array([float(value) for value in given])


def _one_of(what: str, known: Collection[str], optional: bool = True) -> Check:
    def check(name: str, value: object) -> None:
        if value is None and optional:
            return
        if not isinstance(value, str):
            raise _wrong(name, value, f"known: {', '.join(known)}")
        if value not in known:
            raise BadInput(f"no {what} '{value}'", where=name, remedy=nearest(value, known))

    return check


def _number(remedy: str, optional: bool = True) -> Check:
    def check(name: str, value: object) -> None:
        if not (value is None and optional) and not _is_number(value):
            raise _wrong(name, value, remedy)

    return check


def _whole(least: int, remedy: str) -> Check:
    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise _wrong(name, value, remedy)
        if value < least:
            raise BadInput(f"{value} is less than {least}", where=name, remedy=remedy)

    return check


def _prevalences(name: str, value: object) -> None:
    shares(name, value, f"give a list of numbers between 0 and 1: {name}=[0.02, 0.1]")


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(name, value, "give a text")


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool | np.bool_):
        raise _wrong(name, value, "give True or False")


def _calibrating(name: str, value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise _wrong(name, value, "give a mapping: calib={'y_true': ..., 'y_prob': ...}")


def _progress(name: str, value: object) -> None:
    if not callable(value) or not hasattr(value, "say"):
        raise _wrong(name, value, "leave it out, or give a lesionlab.progress.Progress")


def _is_number(value: object) -> bool:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    return real and math.isfinite(value)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | numbers.Number) else f"a {type(value).__name__}"


def _wrong(name: str, value: object, remedy: str) -> BadInput:
    said = "None" if value is None else _shown(value)
    return BadInput(f"{said} cannot be used", where=name, remedy=remedy)


CHECKS: dict[str, Check] = {
    "split": _one_of("split", SPLITS),
    "unit": _one_of("unit", tuple(AGGREGATION), optional=False),
    "ordered": _flag,
    "policy": _one_of("policy", tuple(POLICIES)),
    "target": _number("give a number, e.g. 0.95"),
    "threshold": _number("give a number from 0 to 1"),
    "calib": _calibrating,
    "calibration": _one_of("calibration", tuple(CALIBRATORS)),
    "sets": _one_of("conformal method", (*SCORES, "none")),
    "alpha": _number("give a number between 0 and 1, e.g. 0.1", optional=False),
    "rare": _one_of("way with rare classes", ("refuse", "include"), optional=False),
    "prevalences": _prevalences,
    "title": _text,
    "resamples": _whole(0, "give a whole number, e.g. 2000"),
    "seed": _whole(0, "give a whole number from 0"),
    "progress": _progress,
}
