"""Several models on the same images: one primary metric, paired, and a verdict in words.

The interval of a difference comes from the two models' own intervals and the correlation of
their estimates (MOVER), so it stays wide where both are strong and seldom differ. The test is
DeLong's (AUC of two classes) or McNemar's (accuracy) where each group is one case; otherwise whole
groups swap the models (permutation).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.errors import BadInput
from lesionlab.evaluation.difference import (
    Difference,
    difference_of,
    difference_test,
    mcnemar_of,
    simultaneous,
)
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.limits import LEVEL
from lesionlab.evaluation.noninferiority import (
    Noninferiority,
    checked_margin,
    noninferiority,
)
from lesionlab.evaluation.paired import holm, mcnemar_mid_p
from lesionlab.evaluation.pairing import paired_rows
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import Primary, measured, primary_of
from lesionlab.evaluation.units import Unit, to_unit
from lesionlab.evaluation.verdict import SIGNIFICANCE, verdict
from lesionlab.progress import SILENT, Progress

SCHEMA_VERSION = 1
Differences = dict[tuple[int, int], Difference]  # of the numbers of two models
CONDITIONAL = (
    "Intervals and p-values are conditional on these trained models and these images: they say "
    "nothing of training again with another seed or split; for that, repeat the training."
)


@dataclass(frozen=True)
class Model:
    """A model's name and its primary metric."""

    name: str
    measure: Measure


@dataclass(frozen=True)
class Pair:
    """Two models: `difference` is `first` minus `second`; `p_holm` is adjusted over the pairs.

    Its interval is simultaneous over the pairs (Bonferroni), as p is. `mcnemar` is (right in
    first only, right in second only, p), where it applies.
    """

    first: str
    second: str
    difference: Measure
    p_value: float
    p_holm: float
    test: str
    verdict: str
    mcnemar: tuple[int, int, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        exact = None
        if self.mcnemar is not None:
            a, b, p = self.mcnemar
            exact = {"only_first_right": a, "only_second_right": b, "p_value": p}
            exact["mid_p"] = mcnemar_mid_p(a, b)
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference.to_json(),
            "p_value": self.p_value,
            "p_holm": self.p_holm,
            "test": self.test,
            "verdict": self.verdict,
            "mcnemar": exact,
        }


@dataclass(frozen=True)
class Comparison:
    """A paired comparison by one metric that was declared beforehand."""

    primary: str
    higher_is_better: bool
    n: int
    groups: int
    resampled: str
    unit: str
    unlabelled: int
    models: tuple[Model, ...]
    pairs: tuple[Pair, ...]
    alpha: float
    resamples: int
    seed: int
    noninferiority: tuple[Noninferiority, ...] = ()
    notes: tuple[str, ...] = ()
    statement: str = CONDITIONAL

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "primary": self.primary,
            "higher_is_better": self.higher_is_better,
            "n": self.n,
            "groups": self.groups,
            "resampled": self.resampled,
            "unit": self.unit,
            "unlabelled": self.unlabelled,
            "models": [{"name": m.name, "measure": m.measure.to_json()} for m in self.models],
            "pairs": [p.to_json() for p in self.pairs],
            "alpha": self.alpha,
            "resamples": self.resamples,
            "seed": self.seed,
            "noninferiority": [n.to_json() for n in self.noninferiority],
            "notes": list(self.notes),
            "statement": self.statement,
        }


def compare_predictions(
    models: Sequence[tuple[str, Predictions]],
    *,
    primary: str = "roc_auc",
    malignant: tuple[str, ...] = (),
    unit: Unit = "image",
    resamples: int = 2000,
    seed: int = 0,
    alpha: float = SIGNIFICANCE,
    margin: float | None = None,
    matching_only: bool = False,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare models that predicted the same images.

    `models` are (name, predictions); `primary` one of `PRIMARIES` (`roc_auc` is the macro mean
    for more than two classes; the `malignant_...` ones need `malignant`). Images without label
    are left out and counted. With a `margin` every other model is tested for being non-inferior
    to the first. `matching_only` compares the images that every model predicted, where they
    differ. Raises `BadInput` where the images, classes or labels differ.
    """
    if resamples < 20:
        raise BadInput(f"{resamples} resamples are too few", remedy="use 2000")
    paired = paired_rows(models, matching_only)
    data = [to_unit(p, unit, malignant) for p in paired.rows]
    names = [name for name, _ in models]
    metric = primary_of(primary, data[0].classes, malignant)
    if margin is not None:
        margin = checked_margin(margin, metric)
    if len(np.unique(data[0].y_true)) < 2:
        raise BadInput("only one class occurs in the truth: nothing can be compared")
    found = [
        measured(p, metric, malignant, resamples=resamples, seed=seed, progress=progress)
        for p in data
    ]
    which = list(itertools.combinations(range(len(names)), 2))
    differences = {(i, j): difference_of(metric, found[i], found[j]) for i, j in which}
    tests = [
        difference_test(metric, found[i].cases, found[j].cases, seed)
        for i, j in progress(which, "comparing", len(which))
    ]
    exact = [mcnemar_of(found[i].cases, found[j].cases) for i, j in which]
    return Comparison(
        primary=metric.name,
        higher_is_better=metric.higher_is_better,
        n=len(data[0]),
        groups=found[0].cases.n_groups,
        resampled=data[0].group_unit,
        unit=unit,
        unlabelled=paired.unlabelled,
        models=tuple(Model(n, metric.measure(m)) for n, m in zip(names, found, strict=True)),
        pairs=_pairs(metric, names, differences, tests, exact, alpha),
        alpha=alpha,
        resamples=resamples,
        seed=seed,
        noninferiority=() if margin is None else _against_first(metric, names, differences, margin),
        notes=paired.notes,
    )


def _pairs(
    metric: Primary,
    names: list[str],
    differences: Differences,
    tests: list[tuple[float, str]],
    exact: list[tuple[int, int, float] | None],
    alpha: float,
) -> tuple[Pair, ...]:
    """Every two models, with p-values and intervals that hold for all pairs together."""
    adjusted = holm([p for p, _ in tests])
    pairs = []
    for ((i, j), d), (p, test), p_holm, mcnemar in zip(
        differences.items(), tests, adjusted, exact, strict=True
    ):
        both, interval = (names[i], names[j]), _interval(d, len(differences))
        said = verdict(metric, both, interval, p_holm, discordant=d.discordant, alpha=alpha)
        pairs.append(Pair(*both, interval, p, p_holm, test, said, mcnemar))
    return tuple(pairs)


def _interval(d: Difference, pairs: int) -> Measure:
    """The difference with its interval; simultaneous where there are several pairs."""
    limits = d.limits(simultaneous(LEVEL, pairs))
    if math.isnan(limits.low):
        return Measure(d.value, None, None, d.n, limits.method)
    method = limits.method if pairs == 1 else f"{limits.method}, simultaneous over {pairs} pairs"
    return Measure(d.value, limits.low, limits.high, d.n, method)


def _against_first(
    metric: Primary, names: list[str], differences: Differences, margin: float
) -> tuple[Noninferiority, ...]:
    """Each other model against the first."""
    others = {j: d for (i, j), d in differences.items() if i == 0}
    return tuple(
        noninferiority(metric, (names[0], names[j]), d, margin, comparisons=len(others))
        for j, d in others.items()
    )
