"""Several classifiers, or several views, averaged as probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from lesionlab.data.augment import augment, fixed_views
from lesionlab.data.images import Preprocessing
from lesionlab.models.classifier import Classifier, FusedHead
from lesionlab.models.mean import MeanNetwork, Member, turned

NONE = torch.zeros(3)


class Body(nn.Module):
    """A map as large as the image, which knows up from down: no view gives the same numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)

    def forward_features(self, images: Tensor) -> Tensor:
        return torch.relu(self.conv(images))


class Pool(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.amax((2, 3))


def classifier(seed: int, width: int = 4, facts: int = 0) -> Classifier:
    torch.manual_seed(seed)
    head: nn.Module = nn.Linear(width + 32 * bool(facts), 3)
    if facts:
        head = FusedHead(head, np.zeros(facts, np.float32))
    return Classifier(Body(width), Pool(), head, "linear").eval()


def images(count: int = 5) -> Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def by_numpy(members: list[Member], views: int, facts: Tensor | None = None) -> np.ndarray:
    found = []
    for m in members:
        for view in range(views):
            logits = m.network(turned(images(), view), facts).numpy().astype(np.float64)
            found.append(softmax(logits / m.temperature + m.shift.numpy(), axis=1))
    return np.mean(found, axis=0)


def test_views_of_the_network_are_those_of_training() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    how = Preprocessing(size=16)
    plain = augment(torch.from_numpy(images), fixed_views(1).repeat(2, 0), how)
    for view in range(8):
        wanted = augment(torch.from_numpy(images), fixed_views(8)[[view, view]], how)
        assert torch.equal(turned(plain, view), wanted), view


def test_eight_views_are_the_symmetries_of_a_square() -> None:
    """By NumPy: quarter turns, then those of the mirrored image; all eight differ."""
    square = np.arange(4.0).reshape(2, 2)
    turns = [np.rot90(s, k) for s in (square, square[:, ::-1]) for k in range(4)]
    seen = [turned(torch.from_numpy(square)[None, None], v)[0, 0].numpy() for v in range(8)]
    assert [s.tolist() for s in seen] == [t.tolist() for t in turns]
    assert len({s.tobytes() for s in seen}) == 8


@torch.no_grad()
@pytest.mark.parametrize("views", [1, 3, 8])
def test_the_mean_of_members_of_any_width(views: int) -> None:
    shift = torch.log(torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64))
    members = [Member(classifier(0), 1.7, NONE), Member(classifier(1, width=7), 0.4, shift)]
    mean = MeanNetwork(members, views).eval()
    y_prob = torch.softmax(mean(images()), 1).numpy()
    assert y_prob == pytest.approx(by_numpy(members, views), abs=1e-6)
    assert mean.feature_map(images()).shape == (5, 4 + 7, views, 1)


@torch.no_grad()
def test_the_order_of_members_changes_nothing() -> None:
    members = [Member(classifier(s, width=3 + s), 1 + s / 4, NONE) for s in range(3)]
    forward, backward = (MeanNetwork(m, 2)(images()) for m in (members, members[::-1]))
    assert torch.allclose(forward, backward, atol=1e-6)


@torch.no_grad()
def test_over_all_views_a_turned_image_has_the_same_answer() -> None:
    mean = MeanNetwork([Member(classifier(0), 1.0, NONE)], 8)
    plain = mean(images())
    assert all(torch.allclose(mean(turned(images(), v)), plain, atol=1e-6) for v in range(8))
    alone = MeanNetwork([Member(classifier(0), 1.0, NONE)], 1)
    assert not torch.allclose(alone(turned(images(), 1)), alone(images()), atol=1e-4)


@torch.no_grad()
def test_one_member_alone_is_itself() -> None:
    network = classifier(0)
    mean = MeanNetwork([Member(network, 1.0, NONE)])
    assert torch.allclose(mean(images()), torch.log_softmax(network(images()), 1), atol=1e-6)


@torch.no_grad()
def test_members_read_the_facts() -> None:
    members = [Member(classifier(s, facts=2), 1.0, NONE) for s in range(2)]
    mean, facts = MeanNetwork(members), torch.ones(5, 2)
    y_prob = torch.softmax(mean(images(), facts), 1).numpy()
    assert y_prob == pytest.approx(by_numpy(members, 1, facts), abs=1e-6)
    assert not torch.allclose(mean(images(), facts), mean(images()), atol=1e-5)


@torch.no_grad()
def test_a_class_that_nobody_believes_in_is_finite() -> None:
    away = torch.tensor([0.0, 0.0, -1000.0])
    logits = MeanNetwork([Member(classifier(0), 1.0, away)])(images())
    assert logits[:, 2].tolist() == pytest.approx([np.log(1e-12)] * 5)


def test_shifts_are_no_weights() -> None:
    mean = MeanNetwork([Member(classifier(0), 1.0, NONE)])
    assert not any("shift" in name for name in mean.state_dict())
