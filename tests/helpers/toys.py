"""Networks so small that their maps can be written down by hand."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.models.classifier import Classifier, TimmPooling, build
from lesionlab.models.tutorials import Tutorial

WEIGHTS = torch.tensor([[2.0, -1.0], [0.5, 3.0]])  # (classes, channels)
BIAS = torch.tensor([0.3, -0.2])
OWN_LESS_OTHER = WEIGHTS[0] - WEIGHTS[1]  # of class 0
CLASS_0 = torch.tensor([0])
SIDE = 14  # two pixels an occluding square


def network(name: str, size: int, **model: Any) -> Classifier:
    """A network of the table with fixed random weights and three classes."""
    torch.manual_seed(0)
    settings = ModelSettings(name=name, pretrained=False, **model)
    return build(settings, InputSettings(size=size), 3).eval()


def averaging(weights: Tensor = WEIGHTS, bias: Tensor = BIAS) -> Classifier:
    """Identity body, average, one linear layer: logits are w . mean(x) + b."""
    classes, channels = weights.shape
    conv = nn.Conv2d(channels, channels, 1, bias=False)
    linear = nn.Linear(channels, classes)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(channels)[:, :, None, None])
        linear.weight.copy_(weights)
        linear.bias.copy_(bias)
    body = Tutorial(OrderedDict(conv=conv))
    return Classifier(body, TimmPooling(body), nn.Sequential(nn.Dropout(0.5), linear), "linear")


class Squares(nn.Module):
    """x -> x^2, place by place."""

    def forward(self, images: Tensor) -> Tensor:
        return images**2


def squaring() -> Classifier:
    """Body x^2, average, weights 1 and 0 on one channel: evidence of class 0 is mean(x^2)."""
    body = Tutorial(OrderedDict(squares=Squares()))
    linear = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [0.0]]))
    return Classifier(body, TimmPooling(body), nn.Sequential(linear), "linear")


def flattening(side: int, weights: Tensor) -> Classifier:
    """Identity body, every place with a weight of its own: logits (w . x, 0)."""
    conv = nn.Conv2d(1, 1, 1, bias=False)
    linear = nn.Linear(side * side, 2, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1)
        linear.weight.copy_(torch.stack([weights.flatten(), torch.zeros(side * side)]))
    body = Tutorial(OrderedDict(conv=conv))
    return Classifier(body, nn.Flatten(), nn.Sequential(linear), "flatten_dense")
