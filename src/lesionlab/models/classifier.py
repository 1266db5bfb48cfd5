"""The classifier: body, pooling, head; and its block groups from stem to head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.models.zoo import create_body


class Classifier(nn.Module):
    """Images to logits. `embed` is what the head sees; a frozen body's is cached.

    `images`: (N, C, H, W) float32, normalised. Logits: (N, K).
    """

    def __init__(self, body: nn.Module, pooling: nn.Module, head: nn.Module, kind: str) -> None:
        super().__init__()
        self.body = body
        self.pooling = pooling
        self.head = head
        self.kind = kind  # how the head pools: "linear", "concat_pool", "flatten_dense", "own"

    def feature_map(self, images: Tensor) -> Tensor:
        """The body's last features, before pooling: (N, D, h, w), or (N, tokens, D) of a ViT."""
        features: Tensor = self.body.forward_features(images)  # type: ignore[operator]
        return features

    def pool(self, features: Tensor) -> Tensor:
        """(N, D) from the last features."""
        pooled: Tensor = self.pooling(features)
        return pooled

    def embed(self, images: Tensor) -> Tensor:
        """(N, D): what the head sees."""
        return self.pool(self.feature_map(images))

    def forward(self, images: Tensor) -> Tensor:
        """(N, K) logits."""
        logits: Tensor = self.head(self.embed(images))
        return logits


class TimmPooling(nn.Module):
    """The body's own way from its last features to one vector (average, class token ...)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        # Not registered: the body owns these parameters (MobileNetV3 has a convolution here).
        object.__setattr__(self, "body", body)

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.body.forward_head(features, pre_logits=True)  # type: ignore[operator, union-attr]
        return pooled


class ConcatPooling(nn.Module):
    """Average and maximum over the map, side by side: (N, D, h, w) -> (N, 2 D)."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)


def build(
    model: ModelSettings, shown: InputSettings, classes: int, *, pretrained: bool
) -> Classifier:
    """The classifier of these settings, on the CPU, in train mode.

    Random weights come from torch's global generator: seed it first.
    """
    body = create_body(
        model.name, pretrained=pretrained, channels=shown.channels, drop_path=model.drop_path
    )
    pooling, width = _pooling(model, shown, body)
    return Classifier(body, pooling, _head(model, width, classes), model.head)


def _pooling(model: ModelSettings, shown: InputSettings, body: nn.Module) -> tuple[nn.Module, int]:
    pooling: nn.Module
    pooling = TimmPooling(body)
    if model.head == "concat_pool":
        pooling = ConcatPooling()
    elif model.head == "flatten_dense":
        pooling = nn.Flatten()
    probe = torch.zeros(1, shown.channels, shown.size, shown.size)
    was_training = body.training
    body.eval()
    try:
        with torch.no_grad():
            features = body.forward_features(probe)  # type: ignore[operator]
            if model.head in ("concat_pool", "flatten_dense") and features.ndim != 4:
                raise BadInput(
                    f"'{model.head}' needs a feature map and '{model.name}' has none",
                    where="model.head",
                    remedy="use head = 'linear'",
                )
            width = pooling(features).shape[1]
    except (RuntimeError, AssertionError) as error:
        raise BadInput(
            f"'{model.name}' cannot take {shown.size} x {shown.size} images ({error})",
            where="input.size",
        ) from None
    body.train(was_training)
    return pooling, int(width)


def _head(model: ModelSettings, width: int, classes: int) -> nn.Module:
    """The head of these settings; `fastai` v1's for concat_pool, Keras' for flatten_dense."""
    if model.head == "concat_pool":
        half = model.dropout / 2
        return nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Dropout(half),
            nn.Linear(width, 512),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(512),
            nn.Dropout(model.dropout),
            nn.Linear(512, classes),
        )
    if model.head == "flatten_dense":
        dense = nn.Linear(width, model.head_hidden)
        return nn.Sequential(
            nn.Dropout(model.dropout), dense, nn.ReLU(), nn.Linear(model.head_hidden, classes)
        )
    linear = nn.Linear(width, classes)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(model.dropout), linear)


def last_linear(head: nn.Module) -> nn.Linear:
    """The layer that gives the logits."""
    layers = [m for m in head.modules() if isinstance(m, nn.Linear)]
    return layers[-1]


def set_prior_bias(network: Classifier, prior: npt.NDArray[np.float64]) -> None:
    """Start the output bias at log prior, so that the first loss is that of the base rates."""
    layer = last_linear(network.head)
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(np.log(prior)).to(layer.bias))


@dataclass(frozen=True)
class Group:
    """One block group: its name, its parameters' names, and the modules it freezes as one."""

    name: str
    parameters: tuple[str, ...]


def groups(network: Classifier) -> tuple[Group, ...]:
    """Block groups from stem to head, by timm's own map of each architecture."""
    body = network.body
    matcher = getattr(body, "group_matcher", None)
    if matcher is None:
        named: OrderedDict[object, list[str]] = OrderedDict(
            (name, [f"{name}.{p}" for p, _ in child.named_parameters()])
            for name, child in body.named_children()
            if any(True for _ in child.parameters())
        )
    else:
        named = OrderedDict(group_parameters(body, matcher(coarse=True), reverse=False))
    result = [
        Group(_group_name(names), tuple(f"body.{n}" for n in names)) for names in named.values()
    ]
    head = tuple(f"head.{n}" for n, _ in network.head.named_parameters())
    return (*result, Group("head", head))


def _group_name(names: list[str]) -> str:
    first = names[0].split(".")
    return ".".join(first[:2]) if len(first) > 1 and first[1].isdigit() else first[0]


def trainable_groups(network: Classifier, which: str) -> tuple[Group, ...]:
    """The groups that "head", "last_block" or "all" trains."""
    every = groups(network)
    keep = {"head": 1, "last_block": 2, "all": len(every)}[which]
    return every[-keep:]


def freeze(network: Classifier, which: str) -> tuple[str, ...]:
    """Let only the groups of `which` have gradients; returns their parameters' names in order."""
    names = tuple(n for group in trainable_groups(network, which) for n in group.parameters)
    moving = set(names)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in moving)
    return names


def set_mode(network: Classifier, which: str, frozen_batch_norm: str) -> None:
    """Train mode, but frozen batch norms keep their statistics (unless asked otherwise)."""
    network.train()
    if frozen_batch_norm == "train":
        return
    for module in network.body.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()
    if which == "head":
        network.body.eval()


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Parameters, those with gradients, and batch-norm statistics (which Keras counts too)."""
    return {
        "total": sum(p.numel() for p in network.parameters()),
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "buffers": sum(b.numel() for b in _statistics(network)),
    }


def _statistics(network: nn.Module) -> Iterator[Tensor]:
    return (b for n, b in network.named_buffers() if not n.endswith("num_batches_tracked"))
