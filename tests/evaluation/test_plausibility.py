from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.plausibility import doubts
from lesionlab.evaluation.predictions import Predictions

THREE = ("mel", "nv", "bcc")


def predictions(classes: tuple[str, ...], n: int, order: list[int], strength: float) -> Predictions:
    """`order` says under which class each column is written."""
    rng = np.random.default_rng(1)
    y_true = rng.integers(0, len(classes), n)
    z = rng.normal(0, 1, (n, len(classes))) + strength * np.eye(len(classes))[y_true]
    y_prob = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    ids, none = np.array([f"i{k}" for k in range(n)], object), np.array([""] * n, object)
    return Predictions(ids, none, none, classes, y_true.astype(np.int64), y_prob[:, order])


def asked(p: Predictions, own: bool = False) -> tuple[str, ...]:
    return doubts(evaluate_predictions(p).to_json(), p if own else None)


@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_a_model_as_it_is_raises_no_question(strength: float) -> None:
    for n in (12, 60, 300):
        assert asked(predictions(THREE, n, [0, 1, 2], strength)) == ()
        assert asked(predictions(("nv", "mel"), n, [0, 1], strength)) == ()


def test_swapped_columns_are_asked_about() -> None:
    found = asked(predictions(THREE, 60, [1, 2, 0], 3.0))
    assert any("another assignment of the class columns" in line for line in found)
    assert any("'mel' as" in line and "'nv' as" in line for line in found)


def test_two_swapped_classes_lie_below_chance() -> None:
    found = asked(predictions(("nv", "mel"), 80, [1, 0], 2.0))
    assert any("the whole interval of the AUC" in line and "below 0.5" in line for line in found)
    assert any("instead of" in line for line in found)


def test_labels_that_are_always_the_answer() -> None:
    p = predictions(THREE, 40, [0, 1, 2], 1.0)
    answers = Predictions(
        p.image_id, p.patient_id, p.lesion_id, p.classes, p.y_prob.argmax(axis=1), p.y_prob
    )
    assert any("is it the model's answer" in line for line in asked(answers, own=True))
    assert not any("answer" in line for line in asked(answers))
    assert not any("answer" in line for line in asked(p, own=True))
