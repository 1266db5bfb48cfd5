"""Gallery, confused pairs, the embedding map: small tables with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.confusions import confused_pairs, errors
from lesionlab.explanation.embedding import plane
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


def test_confused_pairs_count_both_ways() -> None:
    prob = np.eye(3)
    truth, called = [0] * 5 + [1] * 4 + [2] * 3, [0, 0, 1, 1, 1, 1, 1, 1, 0, 2, 2, 0]
    table = predicted(truth, prob[called].tolist(), [f"p{k}" for k in range(12)])
    first, second = confused_pairs(table)
    assert (first.first, first.second, first.count, first.back) == ("a", "b", 3, 1)
    assert first.first_as_second.value == pytest.approx(3 / 5)
    assert first.second_as_first.value == pytest.approx(1 / 4)
    assert first.of_errors.value == pytest.approx(4 / 5)
    assert (second.first, second.second, second.count, second.back) == ("c", "a", 1, 0)
    assert errors(table) == (5, 12)


def test_the_plane_keeps_groups_apart_and_is_repeatable() -> None:
    draw = np.random.default_rng(0)
    far = np.concatenate([draw.normal(size=(15, 6)), draw.normal(size=(15, 6)) + 40])
    found = plane(far.astype(np.float32))
    assert found.min() == 0
    assert found.max() == 1
    centres = found[:15].mean(0), found[15:].mean(0)
    spread = max(found[:15].std(), found[15:].std())
    assert np.linalg.norm(centres[0] - centres[1]) > spread
    assert (found == plane(far.astype(np.float32))).all()
    assert plane(far[:3].astype(np.float32)).shape == (3, 2)
