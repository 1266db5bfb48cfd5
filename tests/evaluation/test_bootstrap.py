"""Groups are drawn whole, by the seed and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cases import drawn
from lesionlab.evaluation import bootstrap as boot
from lesionlab.evaluation import metrics
from lesionlab.evaluation.ranking import rank, ranked_counts, roc_auc
from lesionlab.evaluation.statistics import Statistics


def test_the_size_of_the_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics(drawn())
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
    many = [drawn(seed=s) for s in range(300)]
    studies = [float(metrics.accuracy(c.y_true, c.y_pred)) for c in many]
    replicates = boot.bootstrap(Statistics(many[0], bands=False), 60, resamples=1000)["accuracy"]
    assert replicates.std() == pytest.approx(np.std(studies), rel=0.25)


def test_a_replicate_without_a_class_is_undefined_not_wrong() -> None:
    c = drawn(groups=8, per_group=1, seed=0)
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
