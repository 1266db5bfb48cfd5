"""The layer table adds up, names shapes and leaves the network as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.networks import parameter_counts
from lesionlab.config import InputSettings, ModelSettings
from lesionlab.models.classifier import Classifier, build
from lesionlab.models.freeze import freeze
from lesionlab.models.layers import Layer, layer_table


def network(name: str = "test_resnet", size: int = 64) -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings.model_validate({"name": name, "pretrained": False})
    return build(settings, InputSettings(size=size), 3)


class Body(nn.Sequential):
    """A convolution, a batch norm, a layer that does nothing and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Identity(), nn.ReLU()
        )
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self(images) * self.scale


def by_hand() -> Classifier:
    return Classifier(Body(), nn.Flatten(), nn.Linear(4 * 8 * 8, 2), "flatten_dense")


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_the_layer_table_adds_up(name: str) -> None:
    size = 160 if "vit" in name else 64
    made = network(name, size=size)
    table = layer_table(made, InputSettings(size=size))
    counted = parameter_counts(made)
    assert sum(layer.parameters for layer in table) == counted["total"]
    assert sum(layer.statistics for layer in table) == counted["buffers"]
    assert table[-1].output == (3,)
    assert made.training


def test_a_network_by_hand() -> None:
    """3 x 4 x 9 + 4 weights; 4 gammas, betas, means and variances; 256 x 2 + 2 of the head.

    What holds a parameter beside its layers comes first, without a shape.
    """
    assert layer_table(by_hand(), InputSettings(size=16)) == (
        Layer("body", "Body", (), 4, 0, True),
        Layer("body.0", "Conv2d", (4, 8, 8), 112, 0, True),
        Layer("body.1", "BatchNorm2d", (4, 8, 8), 8, 8, True),
        Layer("body.3", "ReLU", (4, 8, 8), 0, 0, False),
        Layer("pooling", "Flatten", (256,), 0, 0, False),
        Layer("head", "Linear", (2,), 514, 0, True),
    )


def test_what_is_frozen_does_not_move_and_is_counted_all_the_same() -> None:
    made = network()
    freeze(made, "head")
    table = layer_table(made, InputSettings(size=64))
    moving = [layer for layer in table if layer.trainable]
    counted = parameter_counts(made)
    assert [layer.name.split(".")[0] for layer in moving] == ["head"]
    assert sum(layer.parameters for layer in moving) == counted["trainable"]
    assert sum(layer.parameters for layer in table) == counted["total"]


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_mode_statistics_and_hooks_as_they_were(training: bool) -> None:
    made = network().train(training)
    before = {k: v.clone() for k, v in made.state_dict().items()}
    layer_table(made, InputSettings(size=64))
    assert made.training == training
    assert all(torch.equal(v, before[k]) for k, v in made.state_dict().items())
    assert not any(m._forward_hooks for m in made.modules())


def test_after_an_image_that_does_not_fit_the_hooks_are_gone() -> None:
    made = by_hand()
    with pytest.raises(RuntimeError):
        layer_table(made, InputSettings(size=32))
    assert not any(m._forward_hooks for m in made.modules())
    assert made.training
