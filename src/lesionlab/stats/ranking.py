"""How well scores in arrays rank: an area with its interval, and two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation.arrays import Array, Plain, numbers, plain_array, same_length
from lesionlab.evaluation.compare import compare_predictions
from lesionlab.evaluation.from_arrays import (
    FromArrays,
    Groups,
    Label,
    predictions_from_arrays,
)
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.noninferiority import Noninferiority
from lesionlab.evaluation.paired import midranks
from lesionlab.evaluation.primary import measured, primary_of

RANKED = ("roc_auc", "average_precision")  # of two classes: only the order of the scores counts


def auc_interval(
    y_true: Array,
    y_score: Array,
    *,
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Measure:
    """The area under the ROC curve of two classes, with its 95 % interval.

    Parameters
    ----------
    y_true : (N,) labels of two classes
        Of booleans True, of numbers the greater is the positive class; of names `positive`.
    y_score : (N,) finite numbers
        Higher means more likely positive; probabilities, logits or any other score.
    groups : (N,) ids, optional
        Intervals resample whole groups.
    classes : two names, optional
        Needed where only one of them occurs.
    positive : a class, optional
    resamples, seed : of the clustered bootstrap, where a group has several cases

    Returns
    -------
    Measure
        `value` in [0, 1], `low`, `high` (None: too few groups to say), `n`, `method`.

    Raises
    ------
    BadInput
        For arrays that do not fit each other; see `lesionlab.evaluate`.

    Notes
    -----
    A t interval on the logit scale. The variance is DeLong's (DeLong, DeLong and Clarke-Pearson,
    Biometrics 1988) where each group is one case, else that of the bootstrap over groups.

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import auc_interval
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> found = auc_interval(y, y + rng.normal(0, 1, 200))
    >>> f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    '0.76 (0.68 to 0.82)'
    """
    read = _ranked(y_true, y_score, "y_score", groups, classes, positive)
    p = read.predictions
    data = p.labelled()
    metric = primary_of("roc_auc", data.classes, read.positive)
    found = measured(data, metric, read.positive, resamples=resamples, seed=seed)
    return metric.measure(found)


@dataclass(frozen=True)
class PairedDifference:
    """Two models on the same cases: `difference` is that of `a` minus that of `b`."""

    metric: str
    higher_is_better: bool
    a: Measure
    b: Measure
    difference: Measure
    p_value: float
    test: str
    verdict: str
    n: int
    groups: int
    resampled: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        measures = {k: getattr(self, k).to_json() for k in ("a", "b", "difference")}
        return {**vars(self), **measures}


def paired_difference(
    y_true: Array,
    y_score_a: Array,
    y_score_b: Array,
    *,
    metric: str = "roc_auc",
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Whether model A is better than model B on the same cases, by a metric fixed beforehand.

    Parameters
    ----------
    y_true : (N,) labels
    y_score_a, y_score_b : (N,) scores, or (N, K) probabilities
        For "roc_auc" and "average_precision" of two classes any scores (N,), each model on a
        scale of its own; otherwise probabilities as for `lesionlab.evaluate`.
    metric : str
        "roc_auc", "average_precision", "accuracy", "balanced_accuracy", "nll", "brier", or of the
        `positive` classes "malignant_roc_auc", "malignant_average_precision",
        "malignant_partial_auc_80".
    groups : (N,) ids, optional
        Whole groups are resampled, and swap the models in the test.
    classes, positive : as for `lesionlab.evaluate`
    resamples, seed : of the paired bootstrap

    Returns
    -------
    PairedDifference
        `a`, `b`, `difference` (in the metric's units; None in `low` and `high`: too few groups),
        `p_value` (two-sided), `test`, `verdict` in words.

    Raises
    ------
    BadInput
        For arrays that do not fit each other, an unknown metric, or a single class.

    Notes
    -----
    The interval comes from those of `a` and `b` and the correlation of their estimates (MOVER:
    Newcombe, Statistics in Medicine 1998; Zou and Donner 2008). The test is that of DeLong et al.
    1988 (AUC) or the exact McNemar test (accuracy) where each group is one case, otherwise a
    permutation of groups (Bandos, Rockette and Gur, Statistics in Medicine 2005). Both are
    conditional on these trained models.

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import paired_difference
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 300)
    >>> good, weak = y + rng.normal(0, 0.7, 300), y + rng.normal(0, 1.5, 300)
    >>> found = paired_difference(y, good, weak)
    >>> found.difference.value > 0.1, found.p_value < 0.001, found.test
    (True, True, 'DeLong')
    """
    kept = {"groups": groups, "classes": classes, "positive": positive}
    read = _both(y_true, {"y_score_a": y_score_a, "y_score_b": y_score_b}, metric, kept)
    found = compare_predictions(
        [(name, r.predictions) for name, r in zip("AB", read, strict=True)],
        primary=metric,
        malignant=read[0].positive,
        resamples=resamples,
        seed=seed,
    )
    (pair,) = found.pairs
    return PairedDifference(
        metric=metric,
        higher_is_better=found.higher_is_better,
        a=found.models[0].measure,
        b=found.models[1].measure,
        difference=pair.difference,
        p_value=pair.p_value,
        test=pair.test,
        verdict=pair.verdict,
        n=found.n,
        groups=found.groups,
        resampled=found.resampled,
    )


def noninferiority(
    y_true: Array,
    y_score: Array,
    y_score_reference: Array,
    *,
    margin: float,
    metric: str = "roc_auc",
    groups: Groups | None = None,
    classes: Sequence[Label] | None = None,
    positive: Label | Sequence[Label] | None = None,
    seed: int = 0,
) -> Noninferiority:
    """Whether a new model is worse than a reference by less than a margin fixed beforehand.

    Parameters
    ----------
    y_true : (N,) labels
    y_score, y_score_reference : (N,) scores, or (N, K) probabilities
        Of the new model and of the reference, as for `paired_difference`.
    margin : float above 0
        The largest loss that would still be acceptable, in units of the metric.
    metric, groups, classes, positive : as for `paired_difference`
    seed : of the paired bootstrap (2,000 resamples)

    Returns
    -------
    Noninferiority
        `noninferior`, `difference` (above 0: the new model is better), `limit` (its one-sided
        97.5 % limit on the worse side), `p_value` (one-sided), `verdict` in words; `noninferior`
        and `p_value` are None with too few groups, or where no case tells the models apart.

    Raises
    ------
    BadInput
        As `paired_difference`, and for a margin that is not above 0.

    Notes
    -----
    The limit is that of the two-sided 95 % interval of `paired_difference` (ICH E9, 1998;
    Piaggio et al., JAMA 2012).

    Examples
    --------
    >>> import numpy as np
    >>> from lesionlab.stats import noninferiority
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 500)
    >>> score = y + rng.normal(0, 0.5, 500)
    >>> found = noninferiority(y, score + rng.normal(0, 0.1, 500), score, margin=0.05)
    >>> found.noninferior, found.p_value < 0.001
    (True, True)
    """
    if margin is None:
        raise BadInput("a margin is needed", where="non-inferiority", remedy="margin=0.02")
    kept = {"groups": groups, "classes": classes, "positive": positive}
    both = {"y_score": y_score, "y_score_reference": y_score_reference}
    new, reference = _both(y_true, both, metric, kept)
    found = compare_predictions(
        [("the reference", reference.predictions), ("the new model", new.predictions)],
        primary=metric,
        malignant=new.positive,
        margin=margin,
        seed=seed,
    )
    return found.noninferiority[0]


def _both(
    y_true: Array, scores: dict[str, Array], metric: str, kept: dict[str, Any]
) -> list[FromArrays]:
    """Both models' scores of the same cases, read alike; the keys are the arguments' names."""
    same_length(*(plain_array(v, name) for name, v in {"y_true": y_true, **scores}.items()))
    read = [_scored(y_true, score, name, metric, kept) for name, score in scores.items()]
    if read[0].predictions.classes != read[1].predictions.classes:
        raise BadInput(f"the classes of {' and '.join(scores)} differ")
    return read


def _scored(
    y_true: Array, y_score: Array, name: str, metric: str, kept: dict[str, Any]
) -> FromArrays:
    """By ranks where only the order counts, else as probabilities."""
    if metric.removeprefix("malignant_") in RANKED and _is_column(y_score, name):
        return _ranked(y_true, y_score, name, kept["groups"], kept["classes"], kept["positive"])
    try:
        return predictions_from_arrays(y_true, y_score, **kept)
    except BadInput as error:
        raise BadInput(str(error).replace("y_prob", name)) from None


def _is_column(values: Array, name: str) -> bool:
    return plain_array(values, name).values.ndim == 1


def _ranked(
    y_true: Array,
    y_score: Array,
    name: str,
    groups: Groups | None,
    classes: Sequence[Label] | None,
    positive: Any,
) -> FromArrays:
    """Read scores of two classes, replaced by their ranks scaled into (0, 1).

    Scores of any range can then be read as probabilities. Metrics that depend only on the order
    of the scores (`RANKED`) are unchanged. `name` is the argument that error messages name.
    """
    score = plain_array(y_score, name)
    if score.values.ndim != 1:
        raise BadInput(
            f"its shape is {score.values.shape}", where=name, remedy="give one score per case"
        )
    ranks = midranks(numbers(score)) / (len(score) + 1)
    indexed_ranks = _with_index(ranks, score)
    try:
        return predictions_from_arrays(
            y_true, indexed_ranks, groups=groups, classes=classes, positive=positive
        )
    except BadInput as error:
        raise BadInput(str(error).replace("y_prob", name)) from None


def _with_index(values: Floats, like: Plain) -> Floats | pd.Series:
    """The values with the pandas index of `like`, so that another order is still noticed."""
    if like.index is None:
        return values
    return pd.Series(values, index=like.index)
