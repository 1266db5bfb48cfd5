"""Several models on the same images: one primary metric, paired, and a verdict in words.

Where each group is one case: DeLong (AUC of two classes) and McNemar (accuracy). Otherwise whole
groups swap the models (permutation), and the interval comes from the paired clustered bootstrap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.errors import BadInput
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.difference import Difference, difference_of, mcnemar_of
from lesionlab.evaluation.intervals import Measure, too_few
from lesionlab.evaluation.paired import holm
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import Primary, measured, primary_of
from lesionlab.evaluation.units import Unit, to_unit
from lesionlab.progress import SILENT, Progress

SCHEMA_VERSION = 1
SIGNIFICANCE = 0.05
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

    `mcnemar` is (right in first only, right in second only, p), where it applies.
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
        keys = ("only_first_right", "only_second_right", "p_value")
        exact = None if self.mcnemar is None else dict(zip(keys, self.mcnemar, strict=True))
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
    progress: Progress = SILENT,
) -> Comparison:
    """Compare models that predicted the same images.

    `models` are (name, predictions); `primary` one of `PRIMARIES` (`roc_auc` is the macro mean
    for more than two classes; the `malignant_...` ones need `malignant`). Images without label
    are left out and counted. Raises `BadInput` where the images, classes or labels differ.
    """
    if resamples < 20:
        raise BadInput(f"{resamples} resamples are too few", remedy="use 2000")
    labelled, unlabelled = paired_rows(models)
    data = [to_unit(p, unit, malignant) for p in labelled]
    names = [name for name, _ in models]
    metric = primary_of(primary, data[0].classes, malignant)
    if len(np.unique(data[0].y_true)) < 2:
        raise BadInput("only one class occurs in the truth: nothing can be compared")
    found = [
        measured(p, metric, malignant, resamples=resamples, seed=seed, progress=progress)
        for p in data
    ]
    pairs = list(itertools.combinations(range(len(names)), 2))
    differences = [
        difference_of(metric, found[i], found[j], seed=seed)
        for i, j in progress(pairs, "comparing", len(pairs))
    ]
    adjusted = holm([d.p_value for d in differences])
    return Comparison(
        primary=metric.name,
        higher_is_better=metric.higher_is_better,
        n=len(data[0]),
        groups=found[0].cases.n_groups,
        resampled=data[0].group_unit,
        unit=unit,
        unlabelled=unlabelled,
        models=tuple(Model(n, metric.measure(m)) for n, m in zip(names, found, strict=True)),
        pairs=tuple(
            _pair(metric, (names[i], names[j]), d, p, alpha, (found[i].cases, found[j].cases))
            for (i, j), d, p in zip(pairs, differences, adjusted, strict=True)
        ),
        alpha=alpha,
        resamples=resamples,
        seed=seed,
    )


def paired_rows(
    models: Sequence[tuple[str, Predictions]],
) -> tuple[list[Predictions], int]:
    """The labelled rows of every model in the order of the first, and how many had no label.

    Raises `BadInput` where names repeat, or the images, classes, groups or labels differ.
    """
    if len(models) < 2:
        raise BadInput("a comparison needs two models", remedy="give a second one")
    names = [name for name, _ in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are called '{max(names, key=names.count)}'")
    first_name, first = models[0]
    kept = np.flatnonzero(first.is_labelled)
    if not len(kept):
        raise BadInput("no image has a label", where=first_name, remedy="add a column 'label'")
    rows = [first.take(kept)]
    for name, other in models[1:]:
        rows.append(_in_order_of(rows[0], first, other, f"'{name}' against '{first_name}'"))
    return rows, len(first) - len(kept)


def _in_order_of(
    wanted: Predictions, whole: Predictions, other: Predictions, where: str
) -> Predictions:
    place = {image: row for row, image in enumerate(other.image_id)}
    missing = [i for i in whole.image_id if i not in place]
    extra = len(other) - (len(whole) - len(missing))
    if missing or extra:
        what = f"{len(missing)} image(s) are missing ('{missing[0]}' ...)" if missing else ""
        more = f"{extra} image(s) are not shared" if extra else ""
        raise BadInput(
            "; ".join(filter(None, (what, more))),
            where=where,
            remedy="predict the same images with both models",
        )
    if set(other.classes) != set(wanted.classes):
        raise BadInput(
            f"the classes differ ({', '.join(other.classes)} and {', '.join(wanted.classes)})",
            where=where,
        )
    order = [other.classes.index(c) for c in wanted.classes]
    turned = other.take(np.array([place[i] for i in wanted.image_id], np.int64))
    names = np.array([*turned.classes, ""], dtype=object)[turned.y_true]
    index = {c: k for k, c in enumerate(wanted.classes)} | {"": -1}
    y_true = np.array([index[n] for n in names], np.int64)
    differ = np.flatnonzero((y_true != wanted.y_true) & (y_true >= 0))
    if len(differ):
        raise BadInput(
            f"'{wanted.image_id[differ[0]]}' and {len(differ) - 1} more carry other labels",
            where=where,
            remedy="use one truth for both",
        )
    return Predictions(
        wanted.image_id,
        wanted.patient_id,
        wanted.lesion_id,
        wanted.classes,
        wanted.y_true,
        turned.y_prob[:, order],
    )


def _pair(
    metric: Primary,
    names: tuple[str, str],
    d: Difference,
    p_holm: float,
    alpha: float,
    cases: tuple[Cases, Cases],
) -> Pair:
    if d.fewest < metric.needed or math.isnan(d.low):
        interval = too_few(d.value, d.n, d.fewest, metric.needed)
    else:
        interval = Measure(d.value, d.low, d.high, d.n, d.interval)
    return Pair(
        names[0],
        names[1],
        interval,
        d.p_value,
        p_holm,
        d.test,
        verdict(metric, names, interval, p_holm, alpha),
        mcnemar_of(*cases),
    )


def verdict(
    metric: Primary, names: tuple[str, str], d: Measure, p_holm: float, alpha: float = SIGNIFICANCE
) -> str:
    """What the pair allows to say: who is better, or which difference is excluded."""
    what = metric.name.replace("_", " ")
    if d.value is None or d.low is None or d.high is None:
        return f"too few to say which is better by {what}"
    if p_holm > alpha:
        bound = max(abs(d.low), abs(d.high))
        return f"not distinguishable; a difference in {what} above {bound:.3f} is excluded"
    first_leads = (d.value > 0) == metric.higher_is_better
    better = names[0] if first_leads else names[1]
    ends = sorted((abs(d.low), abs(d.high))) if d.low * d.high > 0 else [0.0, max(-d.low, d.high)]
    return (
        f"{better} is better: {what} differs by {abs(d.value):.3f} "
        f"(95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
    )
