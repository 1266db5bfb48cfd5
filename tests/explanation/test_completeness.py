"""Integrated gradients must add up: by hand, with more steps where needed, and said where not."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from helpers import toys
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import completeness, methods
from lesionlab.explanation.completeness import Gaps, gaps, with_enough_steps
from lesionlab.models.classifier import Classifier, TimmPooling
from lesionlab.models.tutorials import Tutorial

HOW = Preprocessing(size=8, channels=1, mean=(0.0,), std=(1.0,))
ROWS, TARGET = np.arange(12), np.zeros(12, np.int64)


class Cliff(nn.Module):
    """Almost a step at 0.3: its slope falls between the nodes of few steps."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(60 * (images - 0.3))


def asked(body: nn.Module) -> methods.ExplainedNetwork:
    """The body on one channel, averaged; pictures of one bright grey each."""
    network = toys.squaring()
    tutorial = Tutorial(OrderedDict(body=body))
    network = Classifier(tutorial, TimmPooling(tutorial), network.head, "linear").eval()
    grey = np.linspace(150, 250, 12).astype(np.uint8)
    array = np.broadcast_to(grey[:, None, None, None], (12, 8, 8, 1)).copy()
    return methods.ExplainedNetwork(network, CachedPixels(array), HOW)


def test_the_square_adds_up_with_two_steps_and_needs_no_more() -> None:
    subject = dataclasses.replace(asked(toys.Squares()), steps=2)  # exact for a straight gradient
    maps = methods.maps_of(subject, "integrated_gradients", ROWS, TARGET)
    found = gaps(subject, maps, ROWS, TARGET)
    assert found.whole == pytest.approx((np.linspace(150, 250, 12).astype(int) / 255) ** 2)
    assert found.gap.max() < 1e-6
    assert found.complete is True
    assert with_enough_steps(subject, ROWS, TARGET).steps == 2


def test_a_cliff_takes_more_steps_until_it_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(asked(Cliff()), steps=3)
    maps = methods.maps_of(few, "integrated_gradients", ROWS, TARGET)
    assert gaps(few, maps, ROWS, TARGET).complete is False
    enough = with_enough_steps(few, ROWS, TARGET)
    assert enough.steps in (24, 48, 96)  # doubled from 3
    maps = methods.maps_of(enough, "integrated_gradients", ROWS, TARGET)
    assert gaps(enough, maps, ROWS, TARGET).complete is True
    monkeypatch.setattr(completeness, "MOST_STEPS", 10)
    bounded = with_enough_steps(few, ROWS, TARGET)
    assert bounded.steps == 10  # a bound is kept, and the verdict stays
    maps = methods.maps_of(bounded, "integrated_gradients", ROWS, TARGET)
    assert gaps(bounded, maps, ROWS, TARGET).complete is False


def test_the_share_is_that_of_the_sums() -> None:
    whole = np.array([10.0, 10.0, 0.001] * 4)
    small = Gaps(np.array([0.4, 0.5, 0.05] * 4), whole)  # the third misses 50 times its sum
    assert small.complete is True
    assert small.measured(np.arange(12).astype(object)).value == pytest.approx(0.95 / 20.001)
    assert Gaps(np.array([1.2, 0.5, 0.0] * 4), whole).complete is False
    assert Gaps(np.zeros(3), np.zeros(3)).complete is None
