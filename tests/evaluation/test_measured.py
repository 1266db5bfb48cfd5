"""Which interval each measure gets, by formulas written out here, and when it gets none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from helpers.cases import by_hand, drawn
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.metric_table import METRICS
from lesionlab.evaluation.statistics import Statistics

FEW = 60  # resamples


def measured(cases: Cases, resamples: int = FEW) -> Measured:
    return measure_cases(cases, resamples=resamples, seed=0, bands=False)


def two_classes(n: int = 120, positives: int = 40, seed: int = 0) -> Cases:
    """Cases of "a" and "b", each its own group; "b" are the positives."""
    generator = np.random.default_rng(seed)
    y_true = (np.arange(n) < positives).astype(int)
    p = expit(generator.normal(size=n) + 1.5 * y_true - 0.5)
    return by_hand(y_true, np.stack([1 - p, p], 1))


def with_replicates(m: Measured, **values: np.ndarray) -> Measured:
    return replace(m, replicates={**m.replicates, **values})


def test_the_point_is_that_of_each_group_once_and_the_replicates_follow_the_seed() -> None:
    c = drawn(groups=15)
    m = measured(c)
    expected = Statistics(c, bands=False)(np.ones((1, 15)))
    assert m.point.keys() == expected.keys() == m.replicates.keys()
    for name, value in m.point.items():
        np.testing.assert_array_equal(value, expected[name][0], err_msg=name)
        assert len(m.replicates[name]) == FEW
    np.testing.assert_array_equal(measured(c).replicates["accuracy"], m.replicates["accuracy"])
    other = measure_cases(c, resamples=FEW, seed=1)
    assert (other.replicates["accuracy"] != m.replicates["accuracy"]).any()
    assert "roc_band:a" in other.point


def test_a_share_of_independent_cases_is_wilson_as_scipy_has_it() -> None:
    c = two_classes()
    part, whole = np.arange(120) % 3 > 0, np.arange(120) < 90
    found = measured(c).share(part, whole)
    expected = stats.binomtest(60, 90).proportion_ci(method="wilson")
    assert (found.value, found.n) == (pytest.approx(2 / 3), 90)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    nobody = measured(c).share(part, np.zeros(120, bool))
    assert (nobody.value, nobody.n, nobody.method) == (None, 0, "undefined: no case")


def test_a_predictive_value_needs_groups_of_both_kinds() -> None:
    c = two_classes(positives=24)  # one fewer than a proportion needs
    m, is_b = measured(c), c.y_true == 1
    called = np.arange(120) >= 40  # 80 cases called negative, all of them right
    assert m.share(~is_b, called).low is not None
    for part in (is_b, ~is_b):  # PPV or NPV: of whichever kind the fewer are
        found = m.predictive(part, called, is_b)
        assert found.value == m.share(part, called).value
        assert (found.low, found.high, found.n) == (None, None, 80)
        assert found.method == "too few to say: 24 groups, 25 needed"
    other = two_classes(positives=96)  # 24 negatives
    told = measured(other).predictive(other.y_true == 1, np.ones(120, bool), other.y_true == 1)
    assert (told.value, told.method) == (0.8, "too few to say: 24 groups, 25 needed")
    enough = two_classes(positives=25)
    is_b = enough.y_true == 1
    assert measured(enough).predictive(~is_b, called, is_b).low is not None
    none = m.predictive(is_b, np.zeros(120, bool), c.y_true == 1)
    assert none.method == "undefined: no case"  # not too few: there is no value to doubt


def test_the_auc_of_independent_cases_has_delongs_variance() -> None:
    c = two_classes()
    positive, score = c.scores["b"]
    wins = (score[positive][:, None] > score[~positive]) + 0.0  # no ties among these
    auc = wins.mean()
    variance = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 80
    half = stats.t.ppf(0.975, 40 - 1) * np.sqrt(variance) / (auc * (1 - auc))
    found = measured(c).ranked("roc_auc", "b")
    assert (found.value, found.n) == (pytest.approx(auc), 120)
    limits = expit(logit(auc) - half), expit(logit(auc) + half)
    assert (found.low, found.high) == pytest.approx(limits)
    assert found.method == "logit t, DeLong, 120 groups"


def test_the_auc_of_clustered_cases_has_the_variance_of_the_replicates() -> None:
    c = drawn()
    m = measured(c)
    found, auc = m.ranked("roc_auc", "a"), float(m.point["roc_auc:a"])
    positive = c.scores["a"][0]
    sizes = [np.bincount(c.codes[rows]) for rows in (positive, ~positive)]
    fewest = min(s.sum() ** 2 / (s**2).sum() for s in sizes)
    drawn_values = m.replicates["roc_auc:a"]
    excess = stats.kurtosis(drawn_values) - np.sqrt(24 / FEW)  # beyond its own standard error
    df = min(fewest - 1, 2 / excess if excess > 0 else np.inf)  # heavy tails are worth fewer
    half = stats.t.ppf(0.975, df) * drawn_values.std(ddof=1) / (auc * (1 - auc))
    assert found.low == pytest.approx(expit(logit(auc) - half))
    assert found.method == f"logit t, {FEW} resamples, 60 groups"


def test_average_precision_needs_more_groups_where_they_are_mixed() -> None:
    p = np.random.default_rng(1).random(120)
    prob = np.stack([1 - p, p], 1)
    y_true = np.arange(120) % 2
    apart = by_hand(y_true, prob, [f"p{k // 4}-{k % 2}" for k in range(120)])
    mixed = by_hand(y_true, prob, [f"p{k // 2}" for k in range(120)])
    assert (apart.n_groups, mixed.n_groups) == (60, 60)
    assert measured(apart).ranked("average_precision", "b").method.endswith("30 groups, 40 needed")
    assert measured(mixed).ranked("average_precision", "b").method.endswith("60 groups, 80 needed")
    alone = by_hand(y_true, prob)
    assert measured(alone).ranked("average_precision", "b").low is not None


def test_a_class_that_is_absent_has_no_measure() -> None:
    c = by_hand(np.arange(60) % 2, np.random.default_rng(0).dirichlet(np.ones(3), 60))
    m = measured(c)
    for found in (m.ranked("roc_auc", "c"), m.f1(2)):
        assert (found.value, found.low, found.n) == (None, None, 60)
        assert found.method == "undefined: the class is absent, or the only one"
    single = measured(by_hand([0] * 30, np.full((30, 2), 0.5)))
    assert single.mean(METRICS["roc_auc"]).value is None


def test_a_loss_is_a_t_interval_on_the_log_scale() -> None:
    c = drawn()
    m = measured(c)
    found, value = m.loss(METRICS["nll"]), -np.log(c.y_prob[np.arange(180), c.y_true]).mean()
    groups = 3 / (1 / c.class_groups).sum()
    spread = m.replicates["nll"].std(ddof=1)
    half = stats.t.ppf(0.975, groups - 1) * spread / value
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((value * np.exp(-half), value * np.exp(half)))
    few = measured(drawn(groups=25)).loss(METRICS["nll"])
    assert few.low is None
    assert few.method.endswith("30 needed")


def test_kappa_lies_between_minus_1_and_1() -> None:
    m = measured(drawn())
    found = m.bounded(METRICS["kappa"])
    value, spread = float(m.point["kappa"]), m.replicates["kappa"].std(ddof=1)
    x, groups = (value + 1) / 2, 3 / (1 / m.cases.class_groups).sum()
    half = stats.t.ppf(0.975, groups - 1) * (spread / 2) / (x * (1 - x))
    assert found.low == pytest.approx(2 * expit(logit(x) - half) - 1)
    worse = with_replicates(m, kappa=np.full(FEW, -0.5))
    worse = replace(worse, point={**m.point, "kappa": np.float64(-1.0)})  # the border, no spread
    at_border = worse.bounded(METRICS["kappa"])
    assert at_border.low == -1
    assert at_border.high is not None
    assert -1 < at_border.high < 0
    assert at_border.method.startswith("Wilson on groups")


def test_balanced_accuracy_recovers_the_variance_of_each_sensitivity() -> None:
    c = two_classes(n=200, positives=80)
    m = measured(c)
    parts = []
    for k, n in ((0, 120), (1, 80)):
        right = int(((c.y_true == k) & (c.y_pred == k)).sum())
        limits = stats.binomtest(right, n).proportion_ci(method="wilson")
        parts.append((right / n, limits.low, limits.high))
    (a, a_low, a_high), (b, b_low, b_high) = parts
    r = np.corrcoef(m.replicates["sensitivity"], rowvar=False)[0, 1]
    down, up = (a - a_low, b - b_low), (a_high - a, b_high - b)
    below, above = (np.sqrt(x * x + y * y + 2 * r * x * y) / 2 for x, y in (down, up))
    found = m.mean(METRICS["balanced_accuracy"])
    assert found.value == pytest.approx((a + b) / 2)
    assert (found.low, found.high) == pytest.approx(((a + b) / 2 - below, (a + b) / 2 + above))
    assert found.method.startswith("MOVER over classes")


def test_the_corrected_decision_has_its_own_sensitivities() -> None:
    m = measured(drawn())
    c = m.cases
    assert c.y_pred_corrected is not None
    found = m.mean(METRICS["balanced_accuracy_prior_corrected"])
    each = [(c.y_pred_corrected[c.y_true == k] == k).mean() for k in range(3)]
    assert found.value == pytest.approx(np.mean(each))
    assert found.value != m.mean(METRICS["balanced_accuracy"]).value


def test_a_mean_over_two_classes_needs_more_groups_than_one_over_three() -> None:
    prob = np.random.default_rng(0).dirichlet(np.ones(3), 57)
    three = measured(by_hand(np.arange(57) % 3, prob))  # 19 groups a class
    two = measured(by_hand(np.arange(38) % 2, prob[:38, :2] / prob[:38, :2].sum(1)[:, None]))
    for m, needs_more in ((three, False), (two, True)):
        for found in (
            m.mean(METRICS["balanced_accuracy"]),
            m.mean(METRICS["f1_macro"]),
            m.mean(METRICS["roc_auc"]),
        ):
            assert (found.low is None) == needs_more
            assert found.method.endswith("19 groups, 20 needed") == needs_more


def test_means_leave_absent_classes_out() -> None:
    y_true = np.arange(80) % 2
    m = measured(by_hand(y_true, np.random.default_rng(0).dirichlet(np.ones(3), 80)))
    y_pred = m.cases.y_pred
    recall = [(y_pred[y_true == k] == k).mean() for k in (0, 1)]
    f1 = [
        2 * ((y_pred == k) & (y_true == k)).sum() / ((y_pred == k).sum() + (y_true == k).sum())
        for k in (0, 1)
    ]
    found = m.mean(METRICS["balanced_accuracy"])
    assert found.value == pytest.approx(np.mean(recall))
    assert m.mean(METRICS["f1_macro"]).value == pytest.approx(np.mean(f1))


@pytest.mark.parametrize(("absent", "told"), [(3, True), (4, False)])
def test_no_interval_where_more_than_a_twentieth_of_the_resamples_is_undefined(
    absent: int, told: bool
) -> None:
    m = measured(drawn())
    values = m.replicates["roc_auc:a"].copy()
    values[:absent] = np.nan  # of 60
    m = with_replicates(m, **{"roc_auc:a": values})
    found = m.ranked("roc_auc", "a")
    assert m.undefined["roc_auc:a"] == absent
    assert found.value is not None
    assert (found.low is not None) == told
    if not told:
        assert found.method == "too few to say: undefined in many resamples"


def test_what_is_counted_as_undefined() -> None:
    c = by_hand([0, 0, 0, 1, 1, 1], np.random.default_rng(0).dirichlet(np.ones(3), 6))
    m = measured(c, 200)
    lost = int(np.isnan(m.replicates["balanced_accuracy"]).sum())
    assert lost > 0
    assert m.undefined["balanced_accuracy"] == lost
    assert "accuracy" not in m.undefined  # never undefined
    assert "f1:c" not in m.undefined  # always undefined, and said elsewhere
    assert "balanced_accuracy_prior_corrected" not in m.undefined  # not computed without a prior
    prior = by_hand([0, 0, 0, 1, 1, 1], c.y_prob, prior=(0.5, 0.3, 0.2))
    assert measured(prior, 200).undefined["balanced_accuracy_prior_corrected"] == lost


def test_one_resample_or_none_that_is_defined_is_no_variance() -> None:
    m = measured(drawn())
    values = np.full(FEW, np.nan)
    values[0] = 0.7
    found = with_replicates(m, **{"roc_auc:a": values}).ranked("roc_auc", "a")
    assert (found.low, found.high) == (None, None)


def test_of_a_perfect_model_each_group_counts_once() -> None:
    y_true = np.arange(120) % 3
    perfect = measured(by_hand(y_true, np.eye(3)[y_true] * 0.7 + 0.1))
    for found in (
        perfect.mean(METRICS["balanced_accuracy"]),
        perfect.mean(METRICS["roc_auc"]),
        perfect.f1(0),
        perfect.bounded(METRICS["mcc"]),
    ):
        assert found.value == found.high == 1
        assert found.low is not None
        assert 0.8 < found.low < 1
