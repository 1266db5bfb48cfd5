"""Recalibration: maps from probabilities to better ones, and which rows fit them.

They are fitted on validation, never on test.

`temperature` keeps the order of classes in each row and is the one that training stores; the
others are for those who need them. All take and give `(N, K)` probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit
from sklearn.isotonic import IsotonicRegression

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.calibration import fit_temperature, softmax
from lesionlab.evaluation.halves import first_half, groups_in, halve
from lesionlab.evaluation.predictions import Predictions

TINY = 1e-12  # probabilities are kept this far from 0 and 1 before a logarithm
# Maps that fit their own rows too well for a threshold or sets to be calibrated on them again
# (bench/coverage_recalibration.py).
HALVED = ("isotonic", "dirichlet")


class Calibrator(Protocol):
    """A fitted map."""

    def apply(self, y_prob: Floats) -> Floats:
        """`(N, K)` calibrated probabilities."""

    def to_json(self) -> dict[str, Any]:
        """What `calibrator_from_json` reads back."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the fit before the map is believed."""


@dataclass(frozen=True)
class Temperature:
    """softmax(log p / T): Guo et al. 2017."""

    temperature: float
    notes: tuple[str, ...] = field(default=(), compare=False)

    def apply(self, y_prob: Floats) -> Floats:
        return softmax(_logs(y_prob) / self.temperature)

    def to_json(self) -> dict[str, Any]:
        return {"method": "temperature", "temperature": self.temperature}


@dataclass(frozen=True)
class Platt:
    """sigmoid(slope * logit p + intercept), one class against the rest, rows then normalised."""

    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    notes: ClassVar[tuple[str, ...]] = ()

    def apply(self, y_prob: Floats) -> Floats:
        scores = np.array(self.slope) * _logits(y_prob) + np.array(self.intercept)
        return _normalised(expit(scores), y_prob)

    def to_json(self) -> dict[str, Any]:
        return {"method": "platt", "slope": list(self.slope), "intercept": list(self.intercept)}


@dataclass(frozen=True)
class Isotonic:
    """A rising step function of each class's probability, interpolated; rows then normalised."""

    x: tuple[tuple[float, ...], ...]
    y: tuple[tuple[float, ...], ...]
    notes: ClassVar[tuple[str, ...]] = ()

    def apply(self, y_prob: Floats) -> Floats:
        columns = [
            np.interp(y_prob[:, k], x, y)
            for k, (x, y) in enumerate(zip(self.x, self.y, strict=True))
        ]
        return _normalised(np.stack(columns, axis=1), y_prob)

    def to_json(self) -> dict[str, Any]:
        return {
            "method": "isotonic",
            "x": [list(v) for v in self.x],
            "y": [list(v) for v in self.y],
        }


@dataclass(frozen=True)
class Dirichlet:
    """softmax(W log p + b): Kull et al. 2019, with off-diagonal and intercept regularised."""

    weight: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...]
    notes: ClassVar[tuple[str, ...]] = ()

    def apply(self, y_prob: Floats) -> Floats:
        return softmax(_logs(y_prob) @ np.array(self.weight).T + np.array(self.intercept))

    def to_json(self) -> dict[str, Any]:
        return {
            "method": "dirichlet",
            "weight": [list(v) for v in self.weight],
            "intercept": list(self.intercept),
        }


def fit_calibrator(method: str, y_prob: Floats, y_true: Ints) -> Calibrator:
    """Fit "temperature", "platt", "isotonic" or "dirichlet" on labelled rows.

    No threshold may be chosen and no sets calibrated on the same rows by a map of `HALVED`
    (`recalibrated` divides them). Raises `BadInput` for an unknown method, and where a class does
    not occur (all but temperature would have to guess for it).
    """
    if method not in CALIBRATORS:
        raise BadInput(f"no calibration '{method}'", remedy=nearest(method, CALIBRATORS))
    known = y_true >= 0
    absent = sorted(set(range(y_prob.shape[1])) - set(np.unique(y_true[known]).tolist()))
    if absent and method != "temperature":
        raise BadInput(
            f"class {absent[0]} does not occur in the data that calibrate",
            where=method,
            remedy="use temperature, or more data",
        )
    return CALIBRATORS[method](np.asarray(y_prob[known], np.float64), y_true[known])


def calibrator_from_json(value: Mapping[str, Any]) -> Calibrator:
    """The calibrator that `to_json` wrote."""
    kinds: dict[str, Callable[..., Calibrator]] = {
        "temperature": Temperature,
        "platt": Platt,
        "isotonic": Isotonic,
        "dirichlet": Dirichlet,
    }
    try:
        fields = {k: _tuples(v) for k, v in value.items() if k != "method"}
        return kinds[value["method"]](**fields)
    except (KeyError, TypeError) as error:
        raise BadInput(f"not a calibration ({error})") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _fit_temperature(y_prob: Floats, y_true: Ints) -> Temperature:
    fitted = fit_temperature(_logs(y_prob), y_true)
    return Temperature(fitted.temperature, fitted.notes)


def _fit_platt(y_prob: Floats, y_true: Ints) -> Platt:
    scores = _logits(y_prob)
    lines = [_platt_line(scores[:, k], y_true == k) for k in range(y_prob.shape[1])]
    return Platt(tuple(a for a, _ in lines), tuple(b for _, b in lines))


def _platt_line(score: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's smoothed targets keep the fit finite where the classes are separated."""
    n1, n0 = positive.sum(), (~positive).sum()
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] * score + line[1]
        gap = expit(z) - target
        value = np.logaddexp(0, z) - target * z
        return float(value.mean()), np.array([(gap * score).mean(), gap.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9})
    return float(found.x[0]), float(found.x[1])


def _fit_isotonic(y_prob: Floats, y_true: Ints) -> Isotonic:
    """Kept off 0 and 1 by half a case, so that no outcome is called impossible."""
    half = 0.5 / len(y_true)
    xs, ys = [], []
    for k in range(y_prob.shape[1]):
        fit = IsotonicRegression(y_min=half, y_max=1 - half, out_of_bounds="clip")
        fit.fit(y_prob[:, k], y_true == k)
        xs.append(tuple(map(float, fit.X_thresholds_)))
        ys.append(tuple(map(float, fit.y_thresholds_)))
    return Isotonic(tuple(xs), tuple(ys))


def _fit_dirichlet(y_prob: Floats, y_true: Ints, penalty: float = 1e-3) -> Dirichlet:
    logs, k = _logs(y_prob), y_prob.shape[1]
    truth, off = np.eye(k)[y_true], 1 - np.eye(k)

    def loss(flat: Floats) -> tuple[float, Floats]:
        weight, bias = flat[: k * k].reshape(k, k), flat[k * k :]
        logp = log_softmax(logs @ weight.T + bias, axis=1)
        gap = (np.exp(logp) - truth) / len(truth)
        rows, line = penalty * off * weight, penalty * bias
        value = -(truth * logp).sum() / len(truth) + (rows * weight).sum() / 2 + line @ bias / 2
        return float(value), np.concatenate([(gap.T @ logs + rows).ravel(), gap.sum(0) + line])

    start = np.concatenate([np.eye(k).ravel(), np.zeros(k)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    weight = tuple(tuple(map(float, row)) for row in found[: k * k].reshape(k, k))
    return Dirichlet(weight, tuple(map(float, found[k * k :])))


CALIBRATORS: dict[str, Callable[[Floats, Ints], Calibrator]] = {
    "temperature": _fit_temperature,
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
    "dirichlet": _fit_dirichlet,
}


def _logs(y_prob: Floats) -> Floats:
    return np.asarray(np.log(np.clip(y_prob, TINY, 1)))


def _logits(y_prob: Floats) -> Floats:
    return np.asarray(logit(np.clip(y_prob, TINY, 1 - TINY)))


def _normalised(columns: Floats, y_prob: Floats) -> Floats:
    """Rows that sum to 1; a row without any weight keeps what it had."""
    total = columns.sum(1, keepdims=True)
    return np.asarray(np.where(total > 0, columns / np.where(total > 0, total, 1), y_prob))


@dataclass(frozen=True)
class Recalibrated:
    """Both tables with mapped probabilities.

    `choosing` holds the cases that a threshold may be chosen on and sets calibrated; `advice` is
    what to do, too, where they are too few.
    """

    measured: Predictions
    choosing: Predictions
    notes: tuple[str, ...] = ()
    advice: str = ""


def recalibrated(
    measured: Predictions,
    calibrating: Predictions,
    method: str | None,
    called: str,
    method_called: str = "calibration",
) -> Recalibrated:
    """Both tables' probabilities by a map that was fitted on the second.

    A map of `HALVED` is fitted on half of the second table's groups, and only the other half
    chooses. `called` and `method_called` are the caller's names for the data that calibrate and
    for the method. Raises `BadInput` where a half would lack a class.
    """
    if method is None:
        return Recalibrated(measured, calibrating)
    fitting, choosing = (calibrating, calibrating)
    if method in HALVED:
        refuse_undivided(method, calibrating, called, method_called)
        fitting, choosing = halve(calibrating)
    fitted = fit_calibrator(method, fitting.y_prob, fitting.y_true)
    both = [replace(p, y_prob=fitted.apply(p.y_prob), logits=None) for p in (measured, choosing)]
    note = f"probabilities recalibrated ({method}) on {counted(len(fitting), 'image')} of {called}"
    if method not in HALVED:
        return Recalibrated(both[0], both[1], (note, *fitted.notes))
    note += (
        f" ({counted(groups_in(fitting), 'group')}); threshold and sets are calibrated on the "
        f"other {len(choosing)} ({counted(groups_in(choosing), 'group')})"
    )
    advice = (
        f"only half of the groups of {called} are counted, so twice as many further ones are "
        f"needed there: the other half fits the {method} map; "
        f"{method_called} temperature or platt uses all of them for both"
    )
    return Recalibrated(both[0], both[1], (note,), advice)


def refuse_undivided(method: str, data: Predictions, called: str, method_called: str) -> None:
    """`BadInput` where the two halves of labelled data would not both hold every class."""
    first = first_half(data)
    for k, name in enumerate(data.classes):
        own = data.y_true == k
        if not (own & first).any() or not (own & ~first).any():
            raise BadInput(
                f"{method} needs class '{name}' in both halves of the groups of {called}, one for "
                f"the map and one for threshold and sets; it occurs in "
                f"{counted(len(set(data.groups[own])), 'group')}",
                where=method_called,
                remedy="use temperature, which needs no halves, or more data",
            )
