"""Which images the gallery shows, and in which order: small tables with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tables import predicted
from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.gallery import BY_CLASS, CORRECT, LOSSES, Gallery, gallery, once


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


def many(n: int = 200) -> Predictions:
    """n images of as many patients, right and wrong, no two alike."""
    draw = np.random.default_rng(0)
    prob = draw.dirichlet([1, 1, 1], n)
    return predicted(draw.integers(0, 3, n).tolist(), prob.tolist(), [f"p{k}" for k in range(n)])


def shown(table: Predictions, seed: int = 0) -> Gallery:
    names = [f"{k}.jpg" for k in range(len(table))]
    return gallery(table, names, names, seed)


def test_each_part_has_its_number_and_its_order() -> None:
    table = many()
    found = shown(table)
    assert (len(found.losses), len(found.correct)) == (LOSSES, CORRECT)
    assert {k: len(v) for k, v in found.confident.items()} == dict.fromkeys("abc", BY_CLASS)
    loss = -np.log(table.y_prob[np.arange(200), table.y_true])
    assert [c.row for c in found.losses] == np.argsort(-loss)[:LOSSES].tolist()
    for name, cases in found.confident.items():
        sure = [c.prob_predicted for c in cases]
        assert sure == sorted(sure, reverse=True)
        assert all(c.predicted == name != c.true for c in cases)
    assert all(c.predicted == c.true for c in found.correct)
    rows = [c.row for c in found.correct]
    assert rows == sorted(set(rows))
    assert len(found.rows) == len(set(found.rows.tolist()))


def test_the_seed_draws_the_correct_ones_and_nothing_else() -> None:
    table = many()
    one, again, other = shown(table), shown(table), shown(table, seed=1)
    assert one == again
    assert one.correct != other.correct
    assert (one.losses, one.confident) == (other.losses, other.confident)


def test_without_errors_or_without_truth_there_is_less_to_show() -> None:
    right = shown(predicted([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["p", "q"]))
    assert right.confident == {}
    assert [c.image_id for c in right.losses] == ["i1", "i0"]
    unknown = shown(predicted([-1, -1], [[0.9, 0.1], [0.2, 0.8]], ["p", "q"]))
    assert unknown == Gallery((), {}, ())
    assert unknown.rows.tolist() == []


def test_a_truth_of_probability_zero_has_a_finite_loss() -> None:
    (first, _) = shown(predicted([0, 0], [[0.9, 0.1], [0.0, 1.0]], ["p", "q"])).losses
    assert first.image_id == "i1"
    assert 36 < first.loss < 37  # -log of the smallest step of a float64
