"""Every metric of weighted groups: those of the images drawn, by hand, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.cases import by_hand, drawn
from lesionlab.evaluation import metrics
from lesionlab.evaluation.bootstrap import draw_counts
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS
from lesionlab.evaluation.statistics import Statistics


@pytest.mark.parametrize("ties", [False, True])
def test_every_replicate_equals_the_metrics_of_the_images_it_drew(ties: bool) -> None:
    c = drawn(ties=ties)
    generator = np.random.Generator(np.random.Philox(key=[5, 0]))
    counts = draw_counts(generator, 10, c.n_groups)
    found = Statistics(c)(counts)
    for b in range(10):
        rows = np.repeat(np.arange(len(c.codes)), counts[b][c.codes].astype(int))
        truth, called, prob = c.y_true[rows], c.y_pred[rows], c.y_prob[rows]
        expected = {
            "accuracy": metrics.accuracy(truth, called),
            "balanced_accuracy": metrics.balanced_accuracy(truth, called),
            "mcc": metrics.matthews(truth, called),
            "kappa": metrics.kappa(truth, called),
            "f1_macro": metrics.f_beta(truth, called),
            "nll": metrics.nll(truth, prob),
            "brier": metrics.brier(truth, prob),
            "roc_auc": metrics.roc_auc_macro(truth, prob),
            "average_precision": metrics.average_precision_macro(truth, prob),
            "partial_auc_80:a": metrics.partial_auc(truth == 0, prob[:, 0]),
            "interpolated_pr_area:a": metrics.interpolated_pr_area(truth == 0, prob[:, 0]),
        }
        assert c.y_pred_corrected is not None
        expected["balanced_accuracy_prior_corrected"] = metrics.balanced_accuracy(
            truth, c.y_pred_corrected[rows]
        )
        for at in (80, 90, 95):
            for kind in ("sensitivity_at_specificity", "specificity_at_sensitivity"):
                value = getattr(metrics, kind)(truth == 0, prob[:, 0], at / 100)
                expected[f"{kind}_{at}:a"] = value
        for name, value in expected.items():
            assert found[name][b] == pytest.approx(value, abs=1e-10), name


def test_bands_follow_the_curve() -> None:
    c = drawn()
    found = Statistics(c)(np.ones((1, c.n_groups)))
    positive, score = c.scores["a"]
    cuts = np.unique(score)
    tpr = np.array([(score[positive] >= t).mean() for t in cuts])
    fpr = np.array([(score[~positive] >= t).mean() for t in cuts])
    for at, value in zip(np.linspace(0, 1, 101), found["roc_band:a"][0], strict=True):
        assert value == pytest.approx(tpr[fpr <= at + 1e-9].max(initial=0))
    precision = [positive[score >= t].mean() for t in cuts]
    for at, value in zip(np.linspace(0, 1, 101), found["pr_band:a"][0], strict=True):
        assert value == pytest.approx(precision[np.flatnonzero(tpr >= at - 1e-9)[-1]])


def test_groups_count_as_often_as_they_were_drawn() -> None:
    c = by_hand(
        [0, 0, 1, 1],
        [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]],
        ["p", "q", "p", "r"],
    )
    # p (a right, b right), q (a wrong), r (b wrong).
    found = Statistics(c)(np.array([[1.0, 1, 1], [3, 0, 1], [0, 1, 1], [0, 2, 0]]))
    assert found["accuracy"] == pytest.approx([2 / 4, 6 / 7, 0, 0])
    assert found["sensitivity"][:3] == pytest.approx(np.array([[1 / 2, 1 / 2], [1, 3 / 4], [0, 0]]))
    assert found["sensitivity"][3] == pytest.approx([0, np.nan], nan_ok=True)
    assert found["nll"][3] == pytest.approx(-np.log(0.4))
    assert found["roc_auc:a"][:3] == pytest.approx([2 / 4, 9 / 12, 0])
    assert np.isnan(found["roc_auc:a"][3])  # one class alone


def test_nothing_drawn_is_undefined_without_a_warning() -> None:
    c = drawn(groups=8)
    found = Statistics(c)(np.zeros((1, 8)))
    for name in ("accuracy", "balanced_accuracy", "mcc", "kappa", "f1_macro", "nll", "roc_auc"):
        assert np.isnan(found[name]).all(), name
    for name, values in found.items():
        assert np.isnan(values).any(), name


def test_each_group_twice_is_each_group_once() -> None:
    statistics = Statistics(drawn(ties=True))
    once, twice = (statistics(np.full((1, 60), n)) for n in (1.0, 2.0))
    assert once.keys() == twice.keys()
    for name, values in once.items():
        np.testing.assert_allclose(twice[name], values, atol=1e-12, err_msg=name)


def test_the_order_of_cases_and_the_numbers_of_groups_change_nothing() -> None:
    c = drawn(groups=20, ties=True)
    generator = np.random.default_rng(1)
    rows, number = generator.permutation(len(c.codes)), generator.permutation(20)
    assert c.y_pred_corrected is not None
    other = replace(
        c, y_true=c.y_true[rows], y_prob=c.y_prob[rows], y_pred=c.y_pred[rows],
        y_pred_corrected=c.y_pred_corrected[rows], codes=number[c.codes[rows]],
        scores={name: (p[rows], s[rows]) for name, (p, s) in c.scores.items()},
    )  # fmt: skip
    counts = draw_counts(generator, 5, 20)
    renumbered = np.empty_like(counts)
    renumbered[:, number] = counts
    first, second = Statistics(c)(counts), Statistics(other)(renumbered)
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-12, err_msg=name)


def test_bands_are_left_out_where_nobody_asks_for_them() -> None:
    c, counts = drawn(), np.ones((2, 60))
    whole, few = Statistics(c)(counts), Statistics(c, bands=False)(counts)
    assert set(whole) - set(few) == {f"{k}_band:{n}" for k in ("roc", "pr") for n in "abc"}
    for name, values in few.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_the_whole_list_of_ranking_metrics_is_for_the_scores_that_ask_for_it() -> None:
    found = Statistics(drawn(), bands=False)(np.ones((1, 60)))
    named = {key for key in found if ":" in key}
    rare = {f"{m}:{n}" for m in ("roc_auc", "average_precision") for n in "bc"}
    assert named == {f"{m}:a" for m in RANKING_METRICS} | rare


def test_without_a_prior_the_corrected_decision_is_argmax() -> None:
    c = replace(drawn(), y_pred_corrected=None)
    found = Statistics(c, bands=False)(np.ones((1, 60)))
    np.testing.assert_array_equal(found["sensitivity_prior_corrected"], found["sensitivity"])
    corrected = Statistics(drawn(), bands=False)(np.ones((1, 60)))
    assert (corrected["sensitivity_prior_corrected"] != found["sensitivity"]).any()


def test_means_over_rankings_are_over_the_classes_and_not_the_malignant_score() -> None:
    y_prob = np.random.default_rng(2).dirichlet(np.ones(3), 40)
    c = by_hand(np.arange(40) % 3, y_prob, malignant=("a", "b"))
    found = Statistics(c, bands=False)(np.ones((1, 40)))
    assert "roc_auc:malignant" in found
    for metric in ("roc_auc", "average_precision"):
        each = [found[f"{metric}:{name}"][0] for name in "abc"]
        assert found[metric] == pytest.approx([np.mean(each)])


def test_a_single_class_has_no_ranking_but_decisions_and_losses() -> None:
    c = by_hand([1, 1], [[0.25, 0.75], [0.5, 0.5]])
    found = Statistics(c)(np.ones((1, 2)))
    assert not [key for key in found if ":" in key or key in ("roc_auc", "average_precision")]
    assert found["accuracy"] == pytest.approx([0.5])  # the tie goes to the first class
    assert found["brier"] == pytest.approx([(0.25**2 + 0.5**2) / 2])  # of two classes: of one
    rows = [m for m in METRICS.values() if m.applies(c)]
    measured = {m.name for m in rows if m.counts is not None or m.family == "log t"}
    assert measured <= set(found)
