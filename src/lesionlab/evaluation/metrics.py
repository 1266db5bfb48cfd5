"""Metrics as pure functions of arrays, with sample weights; NaN where undefined.

Decisions come as `y_pred (N,)` class numbers, probabilities as `y_prob (N, K)`, scores of one
class as `score (N,)` with `y_true (N,)` in {0, 1}. In a mean over classes, a class that does not
occur in `y_true` does not count; `absent_classes` names it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation import confusion, ranking
from lesionlab.evaluation.hand_till import pairwise_auc

Weights = Floats | None
EPSILON = float(np.finfo(np.float64).eps)


def confusion_matrix(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    sample_weight: Weights = None,
) -> Floats:
    """`(K, K)` weighted counts: rows truth, columns decision; K is found where it is not given."""
    truth, decision = np.asarray(y_true, np.int64), np.asarray(y_pred, np.int64)
    if classes is None:
        classes = int(max(truth.max(initial=0), decision.max(initial=0))) + 1
    return confusion.confusion_matrix(truth, decision, classes, sample_weight)


def absent_classes(y_true: npt.ArrayLike, classes: int) -> list[int]:
    """The class numbers below `classes` that do not occur: ignored in every mean over classes."""
    return sorted(set(range(classes)) - set(np.unique(np.asarray(y_true, np.int64)).tolist()))


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """The share of right decisions, in [0, 1].

    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    return float(confusion.accuracy(confusion_matrix(y_true, y_pred, None, sample_weight)))


def error_rate(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None
) -> float:
    """1 - accuracy."""
    return 1.0 - accuracy(y_true, y_pred, sample_weight)


def majority_accuracy(y_true: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """The accuracy of always naming the most frequent class."""
    counts = np.bincount(np.asarray(y_true, np.int64), sample_weight)
    return float(counts.max() / counts.sum()) if counts.sum() else float("nan")


def balanced_accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None
) -> float:
    """Mean sensitivity over the classes that occur in `y_true`, in [0, 1].

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    counts = confusion_matrix(y_true, y_pred, None, sample_weight)
    return float(confusion.balanced_accuracy(counts))


def chance_balanced_accuracy(counts: npt.ArrayLike) -> float:
    """The balanced accuracy of predicting one class throughout, of `counts (K,)` cases a class.

    One over the number of classes that occur: the others are not in the mean. NaN without a case.

    >>> chance_balanced_accuracy([40, 0, 12])
    0.5
    """
    occurring = int((np.asarray(counts) > 0).sum())
    return 1 / occurring if occurring else float("nan")


def matthews(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """Matthews correlation, in [-1, 1], for any number of classes."""
    return float(confusion.matthews(confusion_matrix(y_true, y_pred, None, sample_weight)))


def kappa(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """Cohen's kappa, unweighted, at most 1."""
    return float(confusion.kappa(confusion_matrix(y_true, y_pred, None, sample_weight)))


def quadratic_kappa(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    sample_weight: Weights = None,
) -> float:
    """Cohen's kappa with squared distances as weights, in [-1, 1]: of ordered classes only.

    >>> round(quadratic_kappa([0, 1, 2, 3], [0, 1, 3, 3]), 3)
    0.917
    """
    counts = confusion_matrix(y_true, y_pred, classes, sample_weight)
    return float(confusion.quadratic_kappa(counts))


def f_beta(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, beta: float = 1.0, sample_weight: Weights = None
) -> float:
    """Macro F-beta over the classes that occur in `y_true`, in [0, 1]."""
    counts = confusion_matrix(y_true, y_pred, None, sample_weight)
    return float(confusion.mean_over(confusion.f_beta(counts, beta), counts.sum(1) > 0))


def dice(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """Dice of the decisions: 2 |A and B| / (|A| + |B|), the macro F1."""
    return f_beta(y_true, y_pred, 1.0, sample_weight)


def roc_auc(y_true: npt.ArrayLike, score: npt.ArrayLike, sample_weight: Weights = None) -> float:
    """Area under the ROC curve of one class, in [0, 1]; a tie counts half.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return _ranked(ranking.roc_auc, y_true, score, sample_weight)


def average_precision(
    y_true: npt.ArrayLike, score: npt.ArrayLike, sample_weight: Weights = None
) -> float:
    """Sum over thresholds of (R_n - R_{n-1}) P_n, in [0, 1]."""
    return _ranked(ranking.average_precision, y_true, score, sample_weight)


def interpolated_pr_area(
    y_true: npt.ArrayLike, score: npt.ArrayLike, sample_weight: Weights = None
) -> float:
    """Area under the interpolated precision-recall curve (Davis and Goadrich, ICML 2006)."""
    return _ranked(ranking.interpolated_pr_area, y_true, score, sample_weight)


def partial_auc(
    y_true: npt.ArrayLike,
    score: npt.ArrayLike,
    min_sensitivity: float = 0.8,
    sample_weight: Weights = None,
) -> float:
    """Area above `min_sensitivity` left of the curve: ISIC 2024 at 0.8, in [0, 0.2]."""
    return _ranked(lambda c: ranking.partial_auc(c, min_sensitivity), y_true, score, sample_weight)


def sensitivity_at_specificity(
    y_true: npt.ArrayLike, score: npt.ArrayLike, specificity: float, sample_weight: Weights = None
) -> float:
    """The highest sensitivity of a threshold with at least this specificity."""
    return _ranked(
        lambda c: ranking.sensitivity_at_specificity(c, specificity), y_true, score, sample_weight
    )


def specificity_at_sensitivity(
    y_true: npt.ArrayLike, score: npt.ArrayLike, sensitivity: float, sample_weight: Weights = None
) -> float:
    """The highest specificity of a threshold with at least this sensitivity."""
    return _ranked(
        lambda c: ranking.specificity_at_sensitivity(c, sensitivity), y_true, score, sample_weight
    )


def roc_auc_per_class(
    y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None
) -> Floats:
    """`(K,)` one-v-rest AUC; NaN for a class that is absent, or the only one."""
    return _per_class(roc_auc, y_true, y_prob, sample_weight)


def average_precision_per_class(
    y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None
) -> Floats:
    """`(K,)` one-v-rest average precision; NaN for a class that is absent."""
    return _per_class(average_precision, y_true, y_prob, sample_weight)


def roc_auc_macro(y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None) -> float:
    """Mean one-v-rest AUC over the classes that occur; for two classes the one AUC."""
    return _mean_defined(roc_auc_per_class(y_true, y_prob, sample_weight))


def average_precision_macro(
    y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None
) -> float:
    """Mean one-v-rest average precision over the classes that occur."""
    return _mean_defined(average_precision_per_class(y_true, y_prob, sample_weight))


def hand_till_auc(y_true: npt.ArrayLike, y_prob: Floats) -> float:
    """Mean AUC over all pairs of the classes that occur (Hand and Till 2001), in [0, 1]."""
    truth, prob = np.asarray(y_true, np.int64), np.asarray(y_prob, np.float64)
    return pairwise_auc(truth, prob).value


def top_k_credit(y_true: npt.ArrayLike, y_prob: Floats, k: int) -> Floats:
    """`(N,)`: 1 where the true class is among the `k` of highest probability, else 0.

    Of t classes tied for the last s places each gets s / t, the credit expected if the places
    were drawn: so neither the order of the columns nor rounding favours a class.

    >>> top_k_credit([2, 2, 2], np.array([[0.2, 0.5, 0.3], [0.4, 0.5, 0.1], [0.4, 0.3, 0.3]]), 2)
    array([1. , 0. , 0.5])
    """
    truth, prob = np.asarray(y_true, np.int64), np.asarray(y_prob, np.float64)
    own = prob[np.arange(len(truth)), truth][:, None]
    above, tied = (prob > own).sum(1), (prob == own).sum(1)
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0))


def top_k_accuracy(
    y_true: npt.ArrayLike, y_prob: Floats, k: int, sample_weight: Weights = None
) -> float:
    """The share of cases whose true class is among the `k` most probable, in [0, 1]."""
    return _mean(top_k_credit(y_true, y_prob, k), sample_weight)


def nll_per_case(y_true: npt.ArrayLike, y_prob: Floats) -> Floats:
    """`(N,)`: -log of the true class's probability in nats; probability 0 counts as 2.2e-16."""
    truth = np.asarray(y_true, np.int64)
    p = np.asarray(y_prob, np.float64)[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.clip(p, EPSILON, 1.0)))


def nll(y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None) -> float:
    """Mean negative log-likelihood in nats (log loss), from 0 up."""
    return _mean(nll_per_case(y_true, y_prob), sample_weight)


def brier_per_case(y_true: npt.ArrayLike, y_prob: Floats) -> Floats:
    """`(N,)`: squared distance of `y_prob` from the truth; halved for two classes."""
    truth, prob = np.asarray(y_true, np.int64), np.asarray(y_prob, np.float64)
    loss = ((prob - np.eye(prob.shape[1])[truth]) ** 2).sum(1)
    return np.asarray(loss / 2 if prob.shape[1] == 2 else loss)


def brier(y_true: npt.ArrayLike, y_prob: Floats, sample_weight: Weights = None) -> float:
    """Brier score: mean squared distance of `y_prob` from the truth.

    For K > 2 classes summed over the classes, in [0, 2]. For two classes (p - y)^2 of one of
    them, in [0, 1]: half of that sum. Brier, Monthly Weather Review 1950; scikit-learn:
    `brier_score_loss`.
    """
    return _mean(brier_per_case(y_true, y_prob), sample_weight)


def _ranked(
    statistic: Callable[[ranking.RankedCounts], Floats],
    y_true: npt.ArrayLike,
    score: npt.ArrayLike,
    sample_weight: Weights,
) -> float:
    positive, values = np.asarray(y_true).astype(bool), np.asarray(score, np.float64)
    if not positive.any() or np.isnan(values).any():
        return float("nan")
    ranked = ranking.rank(positive, values, None, sample_weight)
    return float(statistic(ranking.ranked_counts(ranked))[0])


def _per_class(
    metric: Callable[[npt.ArrayLike, Floats, Weights], float],
    y_true: npt.ArrayLike,
    y_prob: Floats,
    sample_weight: Weights,
) -> Floats:
    truth, prob = np.asarray(y_true, np.int64), np.asarray(y_prob, np.float64)
    return np.array([metric(truth == k, prob[:, k], sample_weight) for k in range(prob.shape[1])])


def _mean_defined(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _mean(values: Floats, sample_weight: Weights) -> float:
    return float(np.average(values, weights=sample_weight)) if len(values) else float("nan")


def decide(y_prob: Floats, prior: Floats | None = None) -> Ints:
    """`(N,)` argmax of `y_prob`, or of `y_prob / prior`: the decision at a uniform prior.

    A class with prior 0 is never chosen by the corrected decision. Of tied classes the first.

    >>> decide(np.array([[0.6, 0.4]])).item(), decide(np.array([[0.6, 0.4]]), [0.9, 0.1]).item()
    (0, 1)
    """
    prob = np.asarray(y_prob, np.float64)
    if prior is not None:
        p = np.asarray(prior, np.float64)
        prob = np.divide(prob, p, out=np.full(prob.shape, -1.0), where=p > 0)
    return np.asarray(prob.argmax(1), np.int64)
