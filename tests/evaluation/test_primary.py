"""The metrics that models can be compared by: names, scores, and the groups that each needs."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.two_models import THREE, TWO, predictions
from lesionlab.errors import BadInput
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS
from lesionlab.evaluation.primary import PRIMARIES, measured, present_classes, primary_of


def test_two_classes_are_ranked_by_one_score() -> None:
    assert primary_of("roc_auc", TWO, ()).scores == ("malignant",)  # the second class
    assert primary_of("roc_auc", TWO, ("benign",)).scores == ("benign",)
    assert primary_of("roc_auc", THREE, ()).scores == THREE
    assert primary_of("malignant_roc_auc", THREE, ("mel", "bkl")).scores == ("malignant",)
    assert primary_of("accuracy", THREE, ()).scores == ()


def test_only_losses_are_better_when_lower() -> None:
    lower = {n for n in PRIMARIES if not primary_of(n, TWO, ("malignant",)).higher_is_better}
    assert lower == {"nll", "brier"}


@pytest.mark.parametrize(
    ("name", "malignant", "shown"),
    [
        ("auc", (), "no primary metric 'auc'"),
        ("roc_auc", ("mell",), "did you mean 'mel'"),
        ("malignant_average_precision", (), "needs to know which classes are malignant"),
    ],
)
def test_refusals(name: str, malignant: tuple[str, ...], shown: str) -> None:
    with pytest.raises(BadInput, match=shown):
        primary_of(name, THREE, malignant)


def test_the_minimum_is_that_of_the_table_of_metrics() -> None:
    """Two classes and groups of several are the harder case, as in `evaluate`."""
    alone = predictions(TWO, 1.0, 1, 60)
    grouped = predictions(TWO, 1.0, 1, 120, 60)  # patients with images of both classes
    for data, mixed in ((alone, False), (grouped, True)):
        for name in ("accuracy", "balanced_accuracy", "nll"):
            metric = primary_of(name, TWO, ())
            cases = measured(data, metric, (), resamples=20).cases
            assert cases.mixed == mixed
            assert metric.needed(cases) == METRICS[name].needed(cases)
        metric = primary_of("average_precision", TWO, ())
        cases = measured(data, metric, (), resamples=20).cases
        row = RANKING_METRICS["average_precision"]
        assert metric.needed(cases) == (row.minimum_mixed if mixed else row.minimum)


def test_groups_are_those_of_the_scarcest_class() -> None:
    data = predictions(THREE, 1.0, 1, 90)
    counts = np.bincount(data.y_true)
    for name in ("balanced_accuracy", "roc_auc", "average_precision"):
        metric = primary_of(name, THREE, ())
        m = measured(data, metric, (), resamples=20)
        assert metric.groups(m) == pytest.approx(counts.min())
    one = primary_of("malignant_roc_auc", THREE, ("mel",))
    m = measured(data, one, ("mel",), resamples=20)
    assert one.groups(m) == pytest.approx(min(counts[0], 90 - counts[0]))


def test_a_class_that_does_not_occur_has_no_component() -> None:
    data = predictions(THREE, 1.0, 1, 90)
    two = data.take(data.y_true != 1)
    for name in ("balanced_accuracy", "roc_auc"):
        metric = primary_of(name, THREE, ())
        m = measured(two, metric, (), resamples=20)
        assert len(metric.components(m)) == 2
        assert present_classes(m.cases).tolist() == [0, 2]


@pytest.mark.parametrize("name", PRIMARIES)
def test_the_mean_of_the_components_is_the_metric(name: str) -> None:
    data = predictions(THREE, 1.5, 1, 300, 150)
    metric = primary_of(name, THREE, ("mel",))
    m = measured(data, metric, ("mel",), resamples=50)
    values = [c.value for c in metric.components(m)]
    assert np.mean(values) == pytest.approx(metric.measure(m).value, abs=1e-12)


def test_only_what_the_metric_needs_is_ranked() -> None:
    data = predictions(THREE, 1.0, 1, 90)
    assert not measured(data, primary_of("nll", THREE, ()), (), resamples=20).cases.scores
    one = primary_of("malignant_partial_auc_80", THREE, ("mel",))
    assert set(measured(data, one, ("mel",), resamples=20).cases.scores) == {"malignant"}
