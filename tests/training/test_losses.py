"""Losses against hand values; the prior that each way of training implies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lesionlab.config import LossSettings, parse
from lesionlab.errors import BadInput
from lesionlab.training.losses import class_weights, implied_prior, loss_of

COUNTS = np.array([60.0, 30.0, 10.0])
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]])
TARGET = torch.tensor([0, 2])
ONES = torch.ones(3)
LOG_SEEN = torch.tensor(np.log(COUNTS / COUNTS.sum()), dtype=torch.float32)


def value(weights: Tensor = ONES, logits: Tensor = LOGITS, **settings: object) -> float:
    loss = LossSettings.model_validate(settings)
    return float(loss_of(loss, logits, TARGET, weights, LOG_SEEN))


FIRST = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1)))
SECOND = math.log(3)


def test_cross_entropy_is_the_sum_over_the_batch() -> None:
    assert value() == pytest.approx(FIRST + SECOND, rel=1e-6)


def test_class_weights_multiply_each_image() -> None:
    weights = torch.tensor([0.5, 1.0, 4.0])
    assert value(weights) == pytest.approx(0.5 * FIRST + 4 * SECOND, rel=1e-6)


def test_balanced_weights_have_mean_one_over_the_images() -> None:
    weights = class_weights(LossSettings(class_weights="balanced"), COUNTS)
    assert weights == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)
    assert class_weights(LossSettings(), COUNTS).tolist() == [1, 1, 1]


def test_label_smoothing_shares_out_a_little() -> None:
    log_p = torch.log_softmax(LOGITS, 1)
    wanted = torch.full((2, 3), 0.1)
    wanted[0, 0] = wanted[1, 2] = 0.8
    assert value(label_smoothing=0.3) == pytest.approx(float(-(wanted * log_p).sum()), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_focal_loss_looks_away_from_the_easy(gamma: float) -> None:
    easy, hard = math.exp(-FIRST), math.exp(-SECOND)
    expected = (1 - easy) ** gamma * FIRST + (1 - hard) ** gamma * SECOND
    assert value(name="focal", focal_gamma=gamma) == pytest.approx(expected, rel=1e-5)
    if gamma == 0:
        assert value(name="focal", focal_gamma=0.0) == pytest.approx(value(), rel=1e-6)


def test_logit_adjustment_adds_the_log_of_what_is_seen() -> None:
    shifted = value(logits=LOGITS + 0.7 * LOG_SEEN)
    assert value(logit_adjustment=0.7) == pytest.approx(shifted, rel=1e-6)


def test_binary_is_cross_entropy_of_two_classes_and_smooths_alike() -> None:
    two, target = torch.tensor([[0.3, 1.2], [2.0, -1.0]]), torch.tensor([1, 0])
    for smoothing in (0.0, 0.2):
        binary = LossSettings(name="binary", label_smoothing=smoothing)
        usual = LossSettings(label_smoothing=smoothing)
        pair = [loss_of(s, two, target, torch.ones(2), LOG_SEEN[:2]) for s in (binary, usual)]
        assert float(pair[0]) == pytest.approx(float(pair[1]), rel=1e-6)


def test_focal_loss_with_smoothed_labels_is_refused() -> None:
    with pytest.raises(BadInput, match="the focal loss has no label_smoothing"):
        parse(LossSettings, {"name": "focal", "label_smoothing": 0.1})


def test_binary_needs_two_classes() -> None:
    with pytest.raises(BadInput, match="needs 2 classes"):
        value(name="binary")


@pytest.mark.parametrize(
    ("settings", "sampling", "expected"),
    [
        ({}, "natural", [0.6, 0.3, 0.1]),
        ({"class_weights": "balanced"}, "natural", [1 / 3] * 3),
        ({}, "balanced", [1 / 3] * 3),
        ({"logit_adjustment": 1.0}, "natural", [1 / 3] * 3),
        ({"logit_adjustment": 1.0}, "balanced", [1 / 3] * 3),
        ({"class_weights": "balanced"}, "balanced", [5 / 45, 10 / 45, 30 / 45]),
    ],
)
def test_the_implied_prior(
    settings: dict[str, object], sampling: str, expected: list[float]
) -> None:
    prior = implied_prior(LossSettings.model_validate(settings), sampling, COUNTS)
    assert prior == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "sampling"),
    [
        ({}, "natural"),
        ({"class_weights": "balanced"}, "natural"),
        ({}, "balanced"),
        ({"logit_adjustment": 0.5}, "natural"),
        ({"logit_adjustment": 1.0, "class_weights": "balanced"}, "balanced"),
    ],
)
def test_a_network_that_sees_nothing_learns_exactly_the_implied_prior(
    settings: dict[str, object], sampling: str
) -> None:
    """The best constant logits, found by descent on the expected loss, are its logarithm."""
    loss = LossSettings.model_validate(settings)
    natural = COUNTS / COUNTS.sum()
    seen = np.full(3, 1 / 3) if sampling == "balanced" else natural
    weights = torch.tensor(class_weights(loss, COUNTS), dtype=torch.float32)
    log_seen = torch.tensor(np.log(seen), dtype=torch.float32)
    share = torch.tensor(seen, dtype=torch.float32)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = [
            share[k] * loss_of(loss, logits[None], torch.tensor([k]), weights, log_seen)
            for k in range(3)
        ]
        total = torch.stack(each).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    learned = torch.softmax(logits.detach(), 0).numpy()
    assert learned == pytest.approx(implied_prior(loss, sampling, COUNTS), abs=2e-3)
