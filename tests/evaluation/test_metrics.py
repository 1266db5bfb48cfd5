from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from lesionlab.evaluation import metrics


def table(n: int, k: int, seed: int, ties: bool = False) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, k, n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), y_true] += 1
    y_prob = np.exp(logits)
    y_prob /= y_prob.sum(1, keepdims=True)
    if ties:
        y_prob = np.round(y_prob, 1)
    return y_true, y_prob, generator.integers(0, 4, n) + 0.5 * generator.integers(0, 2, n)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_decision_metrics_agree_with_scikit_learn(seed: int, ties: bool, weighted: bool) -> None:
    y_true, y_prob, weight = table(300, 5, seed, ties)
    w = weight if weighted else None
    y_pred = metrics.decide(y_prob)
    assert (y_pred == y_prob.argmax(1)).all()
    pairs = [
        (metrics.accuracy, sk.accuracy_score),
        (metrics.balanced_accuracy, sk.balanced_accuracy_score),
        (metrics.matthews, sk.matthews_corrcoef),
        (metrics.kappa, sk.cohen_kappa_score),
        (metrics.f_beta, lambda *a, **o: sk.f1_score(*a, average="macro", **o)),
    ]
    for ours, theirs in pairs:
        assert ours(y_true, y_pred, sample_weight=w) == pytest.approx(
            theirs(y_true, y_pred, sample_weight=w), abs=1e-12
        )
    f2 = sk.fbeta_score(y_true, y_pred, beta=2, average="macro", sample_weight=w)
    assert metrics.f_beta(y_true, y_pred, 2.0, w) == pytest.approx(f2, abs=1e-12)
    assert metrics.dice(y_true, y_pred, w) == metrics.f_beta(y_true, y_pred, 1.0, w)
    counts = metrics.confusion_matrix(y_true, y_pred, 5, w)
    np.testing.assert_allclose(counts, sk.confusion_matrix(y_true, y_pred, sample_weight=w))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_ranking_metrics_agree_with_scikit_learn(seed: int, ties: bool, weighted: bool) -> None:
    y_true, y_prob, weight = table(300, 4, seed, ties)
    w = weight if weighted else None
    for k in range(4):
        positive, score = y_true == k, y_prob[:, k]
        assert metrics.roc_auc(positive, score, w) == pytest.approx(
            sk.roc_auc_score(positive, score, sample_weight=w), abs=1e-12
        )
        assert metrics.average_precision(positive, score, w) == pytest.approx(
            sk.average_precision_score(positive, score, sample_weight=w), abs=1e-12
        )
    rows = y_prob / y_prob.sum(1, keepdims=True)
    macro = sk.roc_auc_score(y_true, rows, multi_class="ovr", average="macro", sample_weight=w)
    assert metrics.roc_auc_macro(y_true, rows, w) == pytest.approx(macro, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_auc_is_that_of_isic_2024(ties: bool, weighted: bool) -> None:
    y_true, y_prob, weight = table(400, 2, 5, ties)
    w = weight if weighted else None
    score = y_prob[:, 1]
    # The official form: swap the classes and take scikit-learn's partial AUC up to FPR 0.2.
    scaled = sk.roc_auc_score(1 - y_true, -score, max_fpr=0.2, sample_weight=w)
    official = 0.5 * 0.2**2 + (0.2 - 0.5 * 0.2**2) / (1.0 - 0.5) * (scaled - 0.5)
    assert metrics.partial_auc(y_true, score, 0.8, w) == pytest.approx(official, abs=1e-12)


def test_partial_auc_of_perfect_and_of_constant_scores() -> None:
    assert metrics.partial_auc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == pytest.approx(0.2)
    assert metrics.partial_auc([0, 0, 1, 1], [0.5] * 4) == pytest.approx(0.02)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("at", [0.5, 0.8, 0.9, 1.0])
def test_sensitivity_at_specificity_and_the_reverse_by_looking_at_every_threshold(
    ties: bool, at: float
) -> None:
    y_true, y_prob, _ = table(120, 2, 9, ties)
    score, positive = y_prob[:, 1], y_true == 1
    cuts = [*np.unique(score), np.inf]
    sensitivity = np.array([(score[positive] >= t).mean() for t in cuts])
    specificity = np.array([(score[~positive] < t).mean() for t in cuts])
    assert metrics.sensitivity_at_specificity(y_true, score, at) == pytest.approx(
        sensitivity[specificity >= at - 1e-12].max()
    )
    assert metrics.specificity_at_sensitivity(y_true, score, at) == pytest.approx(
        specificity[sensitivity >= at - 1e-12].max()
    )


def test_interpolated_pr_area_by_numerical_integration() -> None:
    y_true, y_prob, _ = table(60, 2, 3, ties=True)
    score, positive = y_prob[:, 1], y_true == 1
    area, tp0, fp0 = 0.0, 0.0, 0.0
    for t in np.unique(score)[::-1]:
        tp1, fp1 = (score[positive] >= t).sum(), (score[~positive] >= t).sum()
        if tp1 > tp0:
            tp = np.linspace(tp0, tp1, 20001)
            fp = fp0 + (fp1 - fp0) * (tp - tp0) / (tp1 - tp0)
            precision = tp / np.maximum(tp + fp, 1e-300)
            precision[0] = tp1 / (tp1 + fp1) if tp0 + fp0 == 0 else precision[0]
            area += np.trapezoid(precision, tp) / positive.sum()
        tp0, fp0 = tp1, fp1
    assert metrics.interpolated_pr_area(y_true, score) == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_agree_with_scikit_learn(k: int, weighted: bool) -> None:
    y_true, y_prob, weight = table(200, k, 2)
    w = weight if weighted else None
    assert metrics.nll(y_true, y_prob, w) == pytest.approx(
        sk.log_loss(y_true, y_prob, sample_weight=w), abs=1e-12
    )
    prob = y_prob[:, 1] if k == 2 else y_prob
    assert metrics.brier(y_true, y_prob, w) == pytest.approx(
        sk.brier_score_loss(y_true, prob, sample_weight=w), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_hand_till_auc_agrees_with_scikit_learn(seed: int, ties: bool) -> None:
    y_true, y_prob, _ = table(200, 5, seed, ties)
    y_prob = (y_prob + 1e-3) / (y_prob + 1e-3).sum(1, keepdims=True)
    expected = sk.roc_auc_score(y_true, y_prob, multi_class="ovo", average="macro")
    assert metrics.hand_till_auc(y_true, y_prob) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_quadratic_kappa_agrees_with_scikit_learn(weighted: bool) -> None:
    y_true, y_prob, weight = table(300, 5, 1)
    w, y_pred = weight if weighted else None, y_prob.argmax(1)
    expected = sk.cohen_kappa_score(y_true, y_pred, weights="quadratic", sample_weight=w)
    assert metrics.quadratic_kappa(y_true, y_pred, 5, w) == pytest.approx(expected, abs=1e-12)
    reversed_ = metrics.quadratic_kappa(4 - y_true, 4 - y_pred, 5, w)
    assert reversed_ == pytest.approx(expected, abs=1e-12)
    shuffled = np.array([3, 0, 4, 1, 2])
    other = metrics.quadratic_kappa(shuffled[y_true], shuffled[y_pred], 5, w)
    assert other != pytest.approx(expected, abs=0.01), "another order is another number"


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_top_k_accuracy_agrees_with_scikit_learn(k: int, weighted: bool) -> None:
    y_true, y_prob, weight = table(300, 5, 2)
    w = weight if weighted else None
    expected = sk.top_k_accuracy_score(y_true, y_prob, k=k, sample_weight=w)
    assert metrics.top_k_accuracy(y_true, y_prob, k, w) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_ties_in_top_k_get_the_credit_of_a_fair_draw(k: int) -> None:
    """The mean over all orders in which tied classes might be listed."""
    y_true, y_prob, _ = table(40, 4, 3, ties=True)
    orders = np.array(list(itertools.permutations(range(4))))
    listed = [order[np.argsort(-y_prob[:, order], axis=1, kind="stable")] for order in orders]
    share = np.mean([(top[:, :k] == y_true[:, None]).any(1) for top in listed], axis=0)
    np.testing.assert_allclose(metrics.top_k_credit(y_true, y_prob, k), share, atol=1e-12)
    assert (share % 1 > 0).sum() > 0, "some are split"


def test_chance_is_that_of_the_classes_that_occur() -> None:
    counts = [30, 0, 20, 10, 5, 0, 3]
    truth = np.repeat(np.arange(7), counts)
    constant = metrics.balanced_accuracy(truth, np.zeros(len(truth), int))
    assert metrics.chance_balanced_accuracy(counts) == pytest.approx(constant) == 0.2
    assert math.isnan(metrics.chance_balanced_accuracy([0, 0]))


def test_an_absent_class_is_nan_and_does_not_count_in_the_mean() -> None:
    y_true, y_prob, _ = table(100, 3, 1)
    kept = y_true != 2
    y_true, y_prob = y_true[kept], y_prob[kept]
    each = metrics.roc_auc_per_class(y_true, y_prob)
    assert math.isnan(each[2])
    assert metrics.roc_auc_macro(y_true, y_prob) == pytest.approx(each[:2].mean())
    assert metrics.absent_classes(y_true, 3) == [2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 < metrics.balanced_accuracy(y_true, metrics.decide(y_prob)) < 1


def test_a_single_class_or_nan_scores_give_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(metrics.roc_auc([1, 1], [0.2, 0.3]))
        assert math.isnan(metrics.roc_auc([0, 0], [0.2, 0.3]))
        assert math.isnan(metrics.roc_auc([0, 1], [0.2, float("nan")]))
        assert math.isnan(metrics.roc_auc_macro([0, 0], np.array([[0.5, 0.5], [0.4, 0.6]])))
        assert math.isnan(metrics.partial_auc([1, 1], [0.2, 0.3]))
        assert math.isnan(metrics.sensitivity_at_specificity([1, 1], [0.2, 0.3], 0.9))


def test_majority_and_error_rate() -> None:
    assert metrics.majority_accuracy([0, 0, 0, 1]) == 0.75
    assert metrics.error_rate([0, 0, 0, 1], [0, 0, 1, 1]) == 0.25


def test_the_corrected_decision_never_names_a_class_without_prior() -> None:
    y_prob = np.array([[0.2, 0.1, 0.7], [0.0, 0.0, 1.0]])
    assert metrics.decide(y_prob, np.array([0.5, 0.5, 0.0])).tolist() == [0, 0]
