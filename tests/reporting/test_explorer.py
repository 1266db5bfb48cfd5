from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lesionlab.reporting.content import ReportContent
from lesionlab.reporting.explorer import explorer, malignant_scores
from lesionlab.reporting.language import language

WORDS = language("en")


@pytest.fixture(scope="module")
def data(content: ReportContent) -> Any:
    found = explorer(content, WORDS)
    assert found is not None
    return found.data


def test_counts_at_every_threshold_are_those_of_the_predictions(
    content: ReportContent, data: Any
) -> None:
    p = content.focus.predictions
    score, positive = p.y_prob[:, :2].sum(1), p.y_true < 2
    for i in range(0, len(data["t"]), 37):
        called = score >= data["t"][i]
        assert data["tp"][i] == (called & positive).sum()
        assert data["fp"][i] == (called & ~positive).sum()
    assert (data["positives"], data["negatives"]) == (positive.sum(), (~positive).sum())
    assert data["tp"][0] == data["positives"]  # threshold 0: everybody is called
    assert data["tp"][-1] == 0  # threshold 1: nobody


def test_the_locked_point_is_on_the_grid_and_shows_the_evaluations_numbers(
    content: ReportContent, data: Any
) -> None:
    point = content.focus.evaluation["operating_points"][0]
    i = data["t"].index(point["threshold"])
    assert data["start"] == point["threshold"]
    counts = point["counts"]
    assert (data["tp"][i], data["fp"][i]) == (counts["tp"], counts["fp"])
    for name in ("sensitivity", "specificity"):
        assert data[name][i] == pytest.approx([point[name]["low"], point[name]["high"]], abs=5e-4)


def test_the_grid_rises_and_covers_small_probabilities(data: Any) -> None:
    t = np.array(data["t"])
    assert (np.diff(t) > 0).all()
    assert (t[0], t[-1]) == (0, 1)
    assert ((t > 0) & (t < 0.01)).sum() > 20  # where a screening threshold lies


def test_there_is_none_without_malignant_classes_or_with_one_side_only(
    content: ReportContent,
) -> None:
    assert explorer(dataclasses.replace(content, malignant=()), WORDS) is None
    benign = content.focus.predictions.take(np.flatnonzero(content.focus.predictions.y_true == 2))
    assert malignant_scores(benign, content.malignant) is None
    part = dataclasses.replace(content.focus, predictions=benign)
    assert explorer(dataclasses.replace(content, parts=(part,)), WORDS) is None


def test_on_test_it_says_not_to_choose_there(content: ReportContent) -> None:
    part = dataclasses.replace(content.focus, name="test")
    found = explorer(dataclasses.replace(content, parts=(part,)), WORDS)
    assert found is not None
    assert found.on_test
