"""The two tutorials' own networks, with exactly their parameters (72,706 and 49,756).

Both are bodies as `lesionlab.models.zoo` gives them: `forward_features` is the map before
flattening; children stand from stem to head, so that block groups work on them too.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class Tutorial(nn.Sequential):
    """Named blocks in a row; the last block's output is the feature map."""

    def forward_features(self, images: Tensor) -> Tensor:
        """(N, D, h, w)."""
        features: Tensor = self(images)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """(N, D): the average over the map, for heads that are not the network's own."""
        return features.mean((2, 3))


def mias_tutorial(channels: int, dropout: float) -> Tutorial:
    """Mammogram patches, 48 x 48: three convolutions, then a dense layer at each position.

    By layer 320, 18,496, 36,928 and 4,160 parameters; with the own head of two outputs (12,802
    more) 72,706. Source: the mini-MIAS tutorial of the seeds.
    """
    return Tutorial(
        OrderedDict(
            conv1=nn.Sequential(nn.Conv2d(channels, 32, 3), nn.ReLU()),
            conv2=nn.Sequential(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            conv3=nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            dense=nn.Sequential(nn.Dropout(dropout), nn.Conv2d(64, 64, 1), nn.ReLU()),
        )
    )


def melanoma_baseline(channels: int, dropout: float) -> Tutorial:
    """Benign v malignant, 224 x 224: four separable convolutions, max pooling 3 after each.

    45,627 parameters; with the own head (256 to 16 to one sigmoid unit, 4,129) 49,756. The
    tutorial states only the total; this is a natural network with exactly that count.
    """
    widths = (channels, 32, 64, 128, 256)
    blocks = {
        f"separable{i + 1}": _separable(widths[i], widths[i + 1]) for i in range(len(widths) - 1)
    }
    return Tutorial(OrderedDict(blocks))


def _separable(inside: int, outside: int) -> nn.Sequential:
    """Keras' SeparableConv2D: no bias between the two convolutions."""
    return nn.Sequential(
        nn.Conv2d(inside, inside, 3, groups=inside, bias=False),
        nn.Conv2d(inside, outside, 1),
        nn.ReLU(),
        nn.MaxPool2d(3),
    )


def own_head(name: str, width: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """What follows the flattened map: (N, width) -> (N, outputs)."""
    if name == "mias_tutorial":
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, outputs))
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def keras_start(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as the tutorials' framework starts."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                with torch.no_grad():
                    module.bias.zero_()
