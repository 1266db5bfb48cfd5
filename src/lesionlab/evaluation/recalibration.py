"""Recalibration: maps from probabilities to better ones, and the table that they are fitted on.

They are fitted on validation, never on test.

`temperature` keeps the order of classes in each row and is the one that training stores; the
others are for those who need them. All take and give `(N, K)` probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit
from sklearn.isotonic import IsotonicRegression

from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.calibration import fit_temperature, softmax
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.same_rows import same_rows
from lesionlab.run_folder import CONFIG

TINY = 1e-12  # probabilities are kept this far from 0 and 1 before a logarithm


class Calibrator(Protocol):
    """A fitted map."""

    def apply(self, y_prob: Floats) -> Floats:
        """`(N, K)` calibrated probabilities."""

    def to_json(self) -> dict[str, Any]:
        """What `calibrator_from_json` reads back."""


@dataclass(frozen=True)
class Temperature:
    """softmax(log p / T): Guo et al. 2017."""

    temperature: float

    def apply(self, y_prob: Floats) -> Floats:
        return softmax(_logs(y_prob) / self.temperature)

    def to_json(self) -> dict[str, Any]:
        return {"method": "temperature", "temperature": self.temperature}


@dataclass(frozen=True)
class Platt:
    """sigmoid(slope * logit p + intercept), one class against the rest, rows then normalised."""

    slope: tuple[float, ...]
    intercept: tuple[float, ...]

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

    Raises `BadInput` for an unknown method, and where a class does not occur (all but
    temperature would have to guess for it).
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
    return Temperature(fit_temperature(_logs(y_prob), y_true))


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


def read_calibrating(path: Path, measured: Predictions) -> tuple[Predictions, tuple[str, ...]]:
    """The labelled predictions of a calibration table, and how it was read."""
    refuse_opened_test(path)
    found, notes = read_any(path)
    kept, said = calibrating_rows(found, measured, str(path))
    return kept, (*how_read(path, notes), *said)


def calibrating_rows(
    found: Predictions, measured: Predictions, where: str
) -> tuple[Predictions, tuple[str, ...]]:
    """The labelled rows of data that calibrate, in the classes' order of `measured`; and notes.

    Raises `BadInput` where its classes are others, no row has a label, an image or a group
    (patient, lesion) stands in both tables, or they hold the same rows by other names.
    """
    if set(found.classes) != set(measured.classes):
        raise BadInput(
            f"its classes are {', '.join(found.classes)}, not {', '.join(measured.classes)}",
            where=where,
        )
    kept = found.labelled()
    if not len(kept):
        raise BadInput("no row has a label", where=where, remedy="add a column 'label'")
    for what, ours, theirs in (
        ("image", measured.image_id, kept.image_id),
        ("group", measured.groups, kept.groups),
    ):
        both = sorted(set(ours) & set(theirs))
        if both:
            raise BadInput(
                f"{len(both)} {what}(s) are in both tables, the first is '{both[0]}'",
                where=where,
                remedy="calibrate on patients that are not evaluated",
            )
    order = [kept.classes.index(c) for c in measured.classes]
    names = np.array(kept.classes, dtype=object)[kept.y_true]
    y_true = np.array([measured.classes.index(n) for n in names], np.int64)
    kept = replace(
        kept, classes=measured.classes, y_true=y_true, y_prob=kept.y_prob[:, order], logits=None
    )
    return kept, _about_same_rows(kept, measured, where)


def _about_same_rows(kept: Predictions, measured: Predictions, where: str) -> tuple[str, ...]:
    """Ids tell nothing where none were given; label and probabilities still do."""
    overlap = same_rows(kept, measured)
    if overlap.all:
        raise BadInput(
            "it holds the rows that are measured: what is fitted on them looks better than it is",
            where=where,
            remedy="calibrate on other cases",
        )
    if not overlap.notable:
        return ()
    return (
        f"{overlap.rows} of {overlap.of} measured rows occur in the data that calibrate too, with "
        "the same label and probabilities: what is measured on them looks better than it is",
    )


def how_read(path: Path, notes: tuple[str, ...]) -> tuple[str, ...]:
    """One note for all that was said on reading a table."""
    plain = [n.removeprefix(f"{path}: ") for n in notes]
    return (f"{path.name}: {'; '.join(plain)}",) if plain else ()


def refuse_opened_test(path: Path) -> None:
    """`BadInput` where nothing may be chosen on a table: it is the test part of a run."""
    if path.name == "predictions-test.csv" and (path.parent / CONFIG).is_file():
        raise BadInput(
            "nothing may be chosen on the test split",
            where=str(path),
            remedy="choose on predictions-valid.csv",
        )


def recalibrated(
    measured: Predictions, calibrating: Predictions, method: str | None, called: str
) -> tuple[Predictions, Predictions, tuple[str, ...]]:
    """Both tables' probabilities by a map that was fitted on the second; and a note on it.

    `called` is the caller's name for the data that calibrate.
    """
    if method is None:
        return measured, calibrating, ()
    fitted = fit_calibrator(method, calibrating.y_prob, calibrating.y_true)
    both = [replace(p, y_prob=fitted.apply(p.y_prob), logits=None) for p in (measured, calibrating)]
    note = f"probabilities recalibrated ({method}) on {len(calibrating)} images of {called}"
    return both[0], both[1], (note,)
