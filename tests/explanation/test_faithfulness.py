"""Insertion, deletion and shifts of pictures whose answer is known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import faithfulness, methods
from lesionlab.models.classifier import Classifier

spec = importlib.util.spec_from_file_location("toys", Path(__file__).with_name("toys.py"))
assert spec
assert spec.loader
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)

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
