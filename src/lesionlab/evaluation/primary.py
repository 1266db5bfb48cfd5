"""The metrics that models can be compared by, and what each needs of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.headline import MALIGNANT, headline_metric
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import Component, Measured, measure_cases
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS
from lesionlab.evaluation.predictions import Predictions
from lesionlab.progress import SILENT, Progress

Kind = Literal["share", "recall", "area", "loss"]
# name -> (kind, the statistic, whose score, whether higher is better)
PRIMARIES: dict[str, tuple[Kind, str, str, bool]] = {
    "accuracy": ("share", "accuracy", "classes", True),
    "balanced_accuracy": ("recall", "sensitivity", "classes", True),
    "roc_auc": ("area", "roc_auc", "classes", True),
    "average_precision": ("area", "average_precision", "classes", True),
    "nll": ("loss", "nll", "classes", False),
    "brier": ("loss", "brier", "classes", False),
    "malignant_roc_auc": ("area", "roc_auc", MALIGNANT, True),
    "malignant_average_precision": ("area", "average_precision", MALIGNANT, True),
    "malignant_partial_auc_80": ("area", "partial_auc_80", MALIGNANT, True),
}


@dataclass(frozen=True)
class Primary:
    """A metric to compare by. `scores` names the rankings whose areas are averaged."""

    name: str
    kind: Kind
    statistic: str
    scores: tuple[str, ...]
    higher_is_better: bool

    @property
    def _one_score(self) -> bool:
        return self.kind == "area" and len(self.scores) == 1

    def needed(self, c: Cases) -> int:
        """The fewest effective groups for an interval: as `evaluate` demands."""
        if self._one_score:
            return RANKING_METRICS[self.statistic].needed(c.mixed)
        return METRICS[self.name].needed(c)

    def groups(self, m: Measured) -> float:
        """The effective groups behind it: of the scarcest class in a mean over classes."""
        if self.kind in ("share", "loss") or self._one_score:
            return min((c.groups for c in self.components(m)), default=0.0)
        return m.cases.scarcest

    def components(self, m: Measured) -> list[Component]:
        """The numbers whose mean the metric is, with their intervals and replicates."""
        if self.kind == "recall":
            return m.class_components(METRICS[self.name])
        if self.kind == "area":
            row, known = RANKING_METRICS[self.statistic], m.cases.scores
            return [m.ranked_component(row, name) for name in self.scores if name in known]
        return [m.whole_component(METRICS[self.name])]

    def measure(self, m: Measured) -> Measure:
        """The metric of one model, as `evaluate` gives it."""
        if self._one_score:
            return m.ranked(self.statistic, self.scores[0])
        return headline_metric(m, METRICS[self.name])


def present_classes(c: Cases) -> npt.NDArray[np.int64]:
    """The numbers of the classes that occur."""
    return np.flatnonzero(c.present)


def primary_of(name: str, classes: tuple[str, ...], malignant: tuple[str, ...]) -> Primary:
    """The metric by its name; `BadInput` where it is none, or lacks its malignant classes.

    >>> primary_of("roc_auc", ("nv", "mel"), ("mel",)).scores
    ('mel',)
    """
    if name not in PRIMARIES:
        raise BadInput(f"no primary metric '{name}'", remedy=nearest(name, PRIMARIES))
    unknown = [c for c in malignant if c not in classes]
    if unknown:
        raise BadInput(
            f"malignant class '{unknown[0]}' is not predicted", remedy=nearest(unknown[0], classes)
        )
    kind, statistic, whose, rises = PRIMARIES[name]
    if whose == MALIGNANT and not malignant:
        raise BadInput(f"{name} needs to know which classes are malignant", remedy="name them")
    scores = (MALIGNANT,) if whose == MALIGNANT else classes
    if whose != MALIGNANT and len(classes) == 2:
        scores = malignant if len(malignant) == 1 else classes[1:]
    return Primary(name, kind, statistic, scores if kind == "area" else (), rises)


def measured(
    data: Predictions,
    metric: Primary,
    malignant: tuple[str, ...],
    *,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Measured:
    """Point estimates and replicates of what the metric needs, from labelled predictions.

    The same groups are drawn for every model with these images and this seed.
    """
    cases = cases_of(data, malignant, None)
    wanted = {n: s for n, s in cases.scores.items() if n in metric.scores}
    full = frozenset(wanted) if metric.statistic == "partial_auc_80" else frozenset()
    cases = replace(cases, scores=wanted, full=full)
    return measure_cases(cases, resamples=resamples, seed=seed, bands=False, progress=progress)
