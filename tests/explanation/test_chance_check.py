"""Whether a network is better than chance, of drawn predictions with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.chance_check import against_chance, better


def drawn(signal: float, n: int = 120, classes: int = 2) -> Predictions:
    """Predictions of n patients; of no signal they know nothing."""
    rng = np.random.default_rng(3)
    truth = np.arange(n) % classes
    z = rng.normal(size=(n, classes)) + signal * np.eye(classes)[truth]
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"i{k}" for k in range(n)], object)
    none = np.array([""] * n, object)
    return Predictions(ids, ids, none, ("a", "b", "c")[:classes], truth, prob, z)


def test_chance_and_better_than_chance() -> None:
    assert against_chance(drawn(2.0))["better_than_chance"] is True
    blind = against_chance(drawn(0.0))
    assert blind["better_than_chance"] is False
    assert blind["roc_auc"]["low"] < 0.5 < blind["roc_auc"]["high"]
    assert blind["chance"] == {"balanced_accuracy": 0.5, "roc_auc": 0.5}
    assert against_chance(drawn(2.0, classes=3))["chance"]["balanced_accuracy"] == pytest.approx(
        1 / 3
    )
    assert against_chance(drawn(2.0, n=8))["better_than_chance"] is None


def test_images_of_unknown_truth_do_not_count() -> None:
    known = drawn(2.0)
    half = np.where(np.arange(120) < 60, known.y_true, -1)
    lost = Predictions(known.image_id, known.patient_id, known.lesion_id, known.classes, half,
                       known.y_prob, known.logits)  # fmt: skip
    assert against_chance(lost)["balanced_accuracy"]["n"] == 60


def test_ranking_alone_is_better_than_chance() -> None:
    # Calls the commonest class throughout, yet ranks: its maps have something to explain.
    skewed = drawn(2.0)
    logits = skewed.logits + np.array([9.0, 0.0])
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = against_chance(Predictions(skewed.image_id, skewed.patient_id, skewed.lesion_id,
                                 skewed.classes, skewed.y_true, prob, logits))  # fmt: skip
    assert found["balanced_accuracy"]["low"] <= 0.5
    assert found["better_than_chance"] is True


def test_a_single_class_says_nothing() -> None:
    measure = Measure(0.9, 0.8, 0.95, 40, "")
    assert better({"balanced_accuracy": measure}, {"balanced_accuracy": 1.0}) is None
