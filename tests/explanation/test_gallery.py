"""Which images the gallery shows, and in which order: small tables with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.gallery import gallery, once


def predicted(y_true: list[int], y_prob: list[list[float]], patients: list[str]) -> Predictions:
    n = len(y_true)
    ids = np.array([f"i{k}" for k in range(n)], object)
    none = np.array([""] * n, object)
    classes = ("a", "b", "c")[: len(y_prob[0])]
    patient = np.array(patients, object)
    return Predictions(ids, patient, none, classes, np.array(y_true), np.array(y_prob))


def test_gallery_orders_by_loss_and_shows_a_patient_once() -> None:
    table = predicted(
        [0, 0, 1, 1, -1], [[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.5, 0.5]],
        ["p", "p", "q", "r", "s"],
    )  # fmt: skip
    files = [f"{k}.jpg" for k in range(5)]
    found = gallery(table, files, [f"images/x{k}.jpg" for k in range(5)])
    assert [c.image_id for c in found.losses] == ["i0", "i3", "i2"]
    assert [(c.file, c.path) for c in found.confident["b"]] == [("0.jpg", "images/x0.jpg")]
    assert [c.image_id for c in found.confident["a"]] == ["i3"]
    assert [c.image_id for c in found.correct] == ["i2"]
    assert found.losses[0].loss == pytest.approx(-np.log(0.1))
    assert found.rows.tolist() == [0, 3, 2]


def test_once_keeps_the_first_of_each_group() -> None:
    groups = np.array(["x", "y", "x"], object)
    assert once(np.array([2, 1, 0]), groups).tolist() == [2, 1]
