from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation import bootstrap as boot
from lesionlab.evaluation import metrics
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.ranking import rank, ranked_counts, roc_auc
from lesionlab.evaluation.statistics import Statistics


def cases(groups: int = 60, per_group: int = 3, seed: int = 0, ties: bool = False) -> Cases:
    generator = np.random.default_rng(seed)
    n = groups * per_group
    y_true = generator.integers(0, 3, n)
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), y_true] += 1
    y_prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if ties:
        y_prob = np.round(y_prob, 1)
    codes = generator.permutation(np.repeat(np.arange(groups), per_group))
    names = ("a", "b", "c")
    scores = {name: (y_true == k, y_prob[:, k]) for k, name in enumerate(names)}
    prior = np.array([0.6, 0.3, 0.1])
    return Cases(
        names, y_true, y_prob, metrics.decide(y_prob), metrics.decide(y_prob, prior), codes,
        groups, scores, frozenset({"a"}),
    )  # fmt: skip


@pytest.mark.parametrize("ties", [False, True])
def test_every_replicate_equals_the_metrics_of_the_images_it_drew(ties: bool) -> None:
    c = cases(ties=ties)
    generator = np.random.Generator(np.random.Philox(key=[5, 0]))
    counts = boot.draw_counts(generator, 10, c.n_groups)
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
    c = cases()
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


def test_the_size_of_the_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics(cases())
    whole = boot.bootstrap(statistics, 60, resamples=50, seed=3)
    monkeypatch.setattr(boot, "CHUNK_REPLICATES", (7, 7))
    pieces = boot.bootstrap(statistics, 60, resamples=50, seed=3)
    for name, values in whole.items():
        np.testing.assert_allclose(pieces[name], values, atol=1e-12)


def test_counts_are_multinomial_and_follow_the_seed() -> None:
    def draw(seed: int) -> np.ndarray:
        return boot.draw_counts(np.random.Generator(np.random.Philox(key=[seed, 0])), 4000, 20)

    counts = draw(1)
    assert (counts.sum(1) == 20).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(0.95, abs=0.02)  # 20 * 1/20 * 19/20
    assert np.array_equal(counts, draw(1))
    assert not np.array_equal(counts, draw(2))


def test_the_bootstrap_variance_is_that_of_many_studies() -> None:
    drawn = [cases(seed=s) for s in range(300)]
    studies = [float(metrics.accuracy(c.y_true, c.y_pred)) for c in drawn]
    replicates = boot.bootstrap(Statistics(drawn[0], bands=False), 60, resamples=1000)["accuracy"]
    assert replicates.std() == pytest.approx(np.std(studies), rel=0.25)


def test_a_replicate_without_a_class_is_undefined_not_wrong() -> None:
    c = cases(groups=8, per_group=1, seed=0)
    assert c.present.all()
    replicates = boot.bootstrap(Statistics(c), 8, resamples=200)
    assert np.isnan(replicates["balanced_accuracy"]).any()
    assert not np.isnan(replicates["accuracy"]).any()


def test_group_codes_number_groups_as_they_appear() -> None:
    codes, count = boot.group_codes(np.array(["b", "a", "b"], dtype=object))
    assert (codes.tolist(), count) == ([0, 1, 0], 2)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_by_counting_pairs(ties: bool) -> None:
    generator = np.random.default_rng(0)
    score = generator.normal(size=40)
    if ties:
        score = np.round(score)
    positive = generator.random(40) < 0.4
    weight = generator.integers(0, 3, 40) * 1.0
    a, b = score[positive][:, None], score[~positive][None]
    pairs = weight[positive][:, None] * weight[~positive][None]
    expected = (pairs * ((a > b) + (a == b) / 2)).sum() / pairs.sum()
    found = roc_auc(ranked_counts(rank(positive, score), weight[:, None]))
    assert found[0] == pytest.approx(expected)
