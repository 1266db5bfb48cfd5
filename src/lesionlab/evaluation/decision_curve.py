"""Net benefit: is acting on the model better than treating everyone, or nobody?

Vickers and Elkin 2006. At a threshold t a reader accepts (1 - t) / t false alarms for one case
found; net benefit counts cases found less false alarms at that price, a case of the population.
It needs probabilities that are calibrated at the prevalence of the population.

Net benefit, and what the model gains over treating everyone, are differences of two weighted
shares of the cases. Their intervals come from those of the shares (MOVER): a variance alone would
not know of the false alarms, dear at high thresholds, that a small study happens not to show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    clustered_proportion,
    effective_groups,
    enough,
)
from lesionlab.evaluation.limits import Limits, difference_limits, wilson

Flags = npt.NDArray[np.bool_]
THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


def case_benefit(score: Floats, positive: Flags, threshold: float) -> Floats:
    """`(N,)`: 1 for a case found, -t / (1 - t) for a false alarm, else 0; positive at >= t."""
    gain = np.where(positive, 1.0, -threshold / (1 - threshold))
    return np.asarray(np.where(score >= threshold, gain, 0.0))


def net_benefit(
    score: Floats,
    positive: Flags,
    threshold: float,
    prevalence: float | None = None,
) -> float:
    """Net benefit at one threshold, at the data's own prevalence or at a given one.

    >>> net_benefit(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), 0.5)
    0.0
    """
    return float(
        np.average(case_benefit(score, positive, threshold), weights=_weights(positive, prevalence))
    )


def _weights(positive: Flags, prevalence: float | None) -> Floats:
    if prevalence is None:
        return np.ones(len(positive))
    own = positive.mean()
    return np.asarray(np.where(positive, prevalence / own, (1 - prevalence) / (1 - own)))


@dataclass(frozen=True)
class Study:
    """Cases with their groups `codes (N,)`, and the prevalence that stands for the data's own."""

    positive: Flags
    codes: Ints
    prevalence: float | None

    def enough(self) -> bool:
        """Whether there are groups enough of both kinds."""
        fewest = min(_groups(self.positive, self.codes), _groups(~self.positive, self.codes))
        return enough(fewest, MINIMUM_GROUPS["proportion"])

    def share(self, rows: Flags, of_positive: bool) -> Share:
        """Of all cases, the share in `rows`, which are of one kind."""
        kind = self.positive if of_positive else ~self.positive
        if self.prevalence is None:
            return _share(rows, np.ones(len(rows)), self.codes, 1.0)
        part = self.prevalence if of_positive else 1 - self.prevalence
        return _share(rows, kind.astype(np.float64), self.codes, part)


@dataclass(frozen=True)
class Share:
    """A share of the cases with its limits; `off (G,)` is each group's part of its error."""

    value: float
    low: float
    high: float
    off: Floats

    def times(self, price: float) -> Share:
        """The same share at a price."""
        return Share(price * self.value, price * self.low, price * self.high, price * self.off)


def _share(rows: Flags, whole: Floats, codes: Ints, scale: float) -> Share:
    found = clustered_proportion(rows.astype(np.float64), whole, codes)
    low, high = wilson(found.value, found.effective_n, df=found.df)
    off = np.bincount(codes, rows - found.value * whole).astype(np.float64)
    return Share(found.value, low, high, off).times(scale)


def decision_curve(
    score: Floats,
    positive: Flags,
    codes: Ints,
    thresholds: Floats = THRESHOLDS,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """The curve as lists: `threshold`, `model` and `all` with intervals, `none` (always 0).

    `over_all` is the model's net benefit less that of treating everyone, on the same cases; less
    that of treating nobody it is `model` itself. `gain` is the smaller of the two, with
    `gain_limits`; `gain_above_0` lists the ranges of consecutive thresholds at which its lower
    limit lies above 0. All intervals are at 95 % for one threshold, not for all at once, and of
    groups (`codes (N,)`); there is none with fewer than 25 effective groups of either kind.
    """
    study = Study(positive, codes, prevalence)
    told = study.enough()
    rows = np.array([_at(study, score >= t, t / (1 - t), told) for t in thresholds])
    model, everyone, over_all = rows[:, 0:3], rows[:, 3:6], rows[:, 6:9]
    gain = np.minimum(model, over_all)
    return {
        "prevalence": float(positive.mean()) if prevalence is None else prevalence,
        "n": len(score),
        "threshold": thresholds.tolist(),
        "model": _columns(model),
        "all": _columns(everyone),
        "none": 0.0,
        "over_all": _columns(over_all),
        "gain": gain[:, 0].tolist(),
        "gain_limits": {k: v for k, v in _columns(gain).items() if k != "value"},
        "gain_above_0": _ranges(thresholds, gain[:, 1] > 0),
        "method": "MOVER from Wilson's intervals on the effective n, pointwise; none below "
        f"{MINIMUM_GROUPS['proportion']} groups of either kind",
    }


def _at(study: Study, called: Flags, price: float, told: bool) -> tuple[float, ...]:
    """Value and limits of the model, of treating everyone, and of their difference."""
    positive = study.positive
    found = study.share(called & positive, True)
    alarms = study.share(called & ~positive, False).times(price)
    missed = study.share(~called & positive, True)
    spared = study.share(~called & ~positive, False).times(price)
    pairs = [(found, alarms), _everyone(study, price), (spared, missed)]
    return tuple(v for a, b in pairs for v in _less(a, b, told))


def _everyone(study: Study, price: float) -> tuple[Share, Share]:
    """The cases found and the false alarms of treating everyone."""
    if study.prevalence is None:
        kinds = study.share(study.positive, True), study.share(~study.positive, False)
        return kinds[0], kinds[1].times(price)
    p, none = study.prevalence, np.zeros(1)  # given, and therefore without error
    return Share(p, p, p, none), Share(1 - p, 1 - p, 1 - p, none).times(price)


def _less(a: Share, b: Share, told: bool) -> tuple[float, float, float]:
    """`a - b` with its limits."""
    if not told:
        return a.value - b.value, math.nan, math.nan
    scale = math.sqrt(float((a.off**2).sum() * (b.off**2).sum()))
    correlation = float((a.off * b.off).sum()) / scale if scale > 0 else 0.0
    first, second = Limits(a.low, a.high, ""), Limits(b.low, b.high, "")
    found = difference_limits((a.value, b.value), first, second, correlation)
    return a.value - b.value, found.low, found.high


def _ranges(thresholds: Floats, inside: Flags) -> list[list[float]]:
    """`[first, last]` of each run of consecutive thresholds.

    >>> _ranges(np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, True, False, True]))
    [[0.1, 0.2], [0.4, 0.4]]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [[float(thresholds[a]), float(thresholds[b - 1])] for a, b in edges.reshape(-1, 2)]


def _groups(rows: Flags, codes: Ints) -> float:
    return effective_groups(np.bincount(codes[rows], minlength=1).astype(np.float64))


def _columns(table: Floats) -> dict[str, list[float | None]]:
    names = ("value", "low", "high")
    return {
        name: [float(v) if np.isfinite(v) else None for v in table[:, i]]
        for i, name in enumerate(names)
    }
