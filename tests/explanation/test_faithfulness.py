"""Insertion, deletion and shifts of pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import toys
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import faithfulness, methods
from lesionlab.models.classifier import Classifier

SIDE = 32
HOW = Preprocessing(size=SIDE, channels=1, mean=(0.0,), std=(1.0,))


def spots(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark pictures with one bright spot each, and where it is."""
    draw = np.random.default_rng(0)
    array = draw.integers(0, 10, (n, SIDE, SIDE, 1)).astype(np.uint8)
    masks = np.zeros((n, SIDE, SIDE), bool)
    for i in range(n):
        y, x = draw.integers(2, SIDE - 8, 2)
        masks[i, y : y + 6, x : x + 6] = True
        array[i, masks[i]] = 250
    return array, masks


def spotting(gain: float = 400.0) -> Classifier:
    """Evidence of class 0 rises with the mean of the squares: with the spot."""
    toy = toys.squaring()
    with torch.no_grad():
        toy.head[-1].weight.mul_(gain)
    return toy.eval()


def test_insertion_and_deletion_reward_the_right_map() -> None:
    array, masks = spots(6)
    subject = methods.ExplainedNetwork(spotting(), CachedPixels(array), HOW)
    rows, target = np.arange(6), np.zeros(6, np.int64)
    right = faithfulness.curves(subject, masks.astype(np.float32), rows, target)
    wrong = faithfulness.curves(subject, 1 - masks.astype(np.float32), rows, target)
    assert right.insertion.shape == (6, faithfulness.STEPS + 1)
    assert (right.insertion_score > wrong.insertion_score).all()
    assert (right.deletion_score < wrong.deletion_score).all()
    # Both curves run between the blurred and the whole picture, whatever the map.
    assert np.allclose(right.insertion[:, -1], right.deletion[:, 0])
    assert np.allclose(right.insertion[:, 0], wrong.deletion[:, -1])


def test_area_under_a_straight_line_is_a_half() -> None:
    line = np.linspace(0, 1, 11)[None]
    assert faithfulness.Curves(line, line).insertion_score.tolist() == pytest.approx([0.5])


def test_a_shift_moves_the_picture_and_the_map_is_moved_back() -> None:
    array, _ = spots(4)
    moved = faithfulness.shifted(2)(array)
    assert (moved[:, 2:, 2:] == array[:, :-2, :-2]).all()
    subject = methods.ExplainedNetwork(spotting(), CachedPixels(array), HOW)
    rows, target = np.arange(4), np.zeros(4, np.int64)
    maps = methods.maps_of(subject, "integrated_gradients", rows, target)
    stable = faithfulness.stability(subject, "integrated_gradients", maps, rows, target)
    assert stable.tolist() == pytest.approx([1, 1, 1, 1], abs=1e-6)


def test_areas_are_those_of_the_trapezoid_rule() -> None:
    drawn = np.random.default_rng(0).random((3, faithfulness.STEPS + 1))
    found = faithfulness.Curves(drawn, 1 - drawn)
    by_numpy = np.trapezoid(drawn, dx=1 / faithfulness.STEPS, axis=1)
    assert found.insertion_score == pytest.approx(by_numpy)
    assert found.deletion_score == pytest.approx(1 - by_numpy)


def test_pixels_are_ranked_from_the_highest_and_ties_as_they_lie() -> None:
    found = np.array([[0.2, 0.9], [-1.0, 0.2]], np.float32)
    assert faithfulness._ranks(found).tolist() == [[0.25, 0.0], [0.75, 0.5]]
    flat = faithfulness._ranks(np.zeros((2, 3), np.float32))
    assert flat.ravel() == pytest.approx(np.arange(6) / 6)


def test_a_blur_hides_detail_and_keeps_colour() -> None:
    even = np.full((SIDE, SIDE, 3), (10, 120, 250), np.uint8)
    assert (faithfulness.blurred(even) == even).all()
    chess = np.zeros((SIDE, SIDE, 2), np.uint8)
    chess[::2, ::2, 0] = chess[1::2, 1::2, 0] = 200
    hidden = faithfulness.blurred(chess)
    assert hidden[..., 0].std() < 0.1 * chess[..., 0].std()
    assert hidden[..., 0].mean() == pytest.approx(100, abs=2)
    assert hidden[..., 1].max() == 0  # one channel does not leak into another


def test_a_shift_repeats_the_rim() -> None:
    views = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    assert faithfulness.shifted(1)(views)[0, ..., 0].tolist() == [[0, 0, 1], [0, 0, 1], [3, 3, 4]]


def test_curves_leave_the_network_in_its_mode() -> None:
    array, masks = spots(1)
    network = spotting().train()
    subject = methods.ExplainedNetwork(network, CachedPixels(array), HOW)
    one = np.zeros(1, np.int64)
    faithfulness.curves(subject, masks.astype(np.float32), one, one)
    assert network.training


def test_logits_of_changed_views_come_in_the_order_of_the_rows() -> None:
    n = methods.BATCH + 3
    array = np.zeros((n, SIDE, SIDE, 1), np.uint8)
    subject = methods.ExplainedNetwork(spotting(1.0), CachedPixels(array), HOW)
    seen: list[list[int]] = []

    def lit(views: np.ndarray, rows: np.ndarray) -> np.ndarray:
        seen.append(rows.tolist())
        return np.broadcast_to(10 * rows[:, None, None, None], views.shape).astype(np.uint8)

    rows = np.arange(n)[::-1].copy()
    found = faithfulness.logits_of(subject, rows, lit)
    assert [row for some in seen for row in some] == rows.tolist()
    assert [len(s) for s in seen] == [methods.BATCH, 3]
    assert found[:, 0] == pytest.approx((10 * rows / 255) ** 2, abs=1e-5)
    assert found.shape == (n, 2)
