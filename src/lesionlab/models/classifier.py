"""The classifier: body, pooling, head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.models.tutorials import keras_start, own_head
from lesionlab.models.zoo import OWN, create_body

FACTS_WIDTH = 32  # of both layers that read age, sex and site


class Classifier(nn.Module):
    """Images to logits. `embed` is what the head sees; a frozen body's is cached.

    `images`: (N, C, H, W) float32, normalised. `facts`: (N, F) float32 (`clinical_metadata`), for a
    network that reads them; without them it takes all of them as unknown. Logits: (N, K).
    """

    def __init__(self, body: nn.Module, pooling: nn.Module, head: nn.Module, kind: str) -> None:
        super().__init__()
        self.body = body
        self.pooling = pooling
        self.head = head
        self.kind = kind  # how the map is pooled: "linear", "concat_pool", "flatten_dense"

    def feature_map(self, images: Tensor) -> Tensor:
        """The body's last features, before pooling: (N, D, h, w), or (N, tokens, D) of a ViT."""
        return last_features(self.body, images)

    def pool(self, features: Tensor) -> Tensor:
        """(N, D) from the last features."""
        pooled: Tensor = self.pooling(features)
        return pooled

    def embed(self, images: Tensor) -> Tensor:
        """(N, D): what the head sees."""
        return self.pool(self.feature_map(images))

    def classify(self, embedded: Tensor, facts: Tensor | None = None) -> Tensor:
        """(N, K) logits from what `embed` gives."""
        logits: Tensor = self.head(embedded) if facts is None else self.head(embedded, facts)
        return logits

    def forward(self, images: Tensor, facts: Tensor | None = None) -> Tensor:
        """(N, K) logits."""
        return self.classify(self.embed(images), facts)


def last_features(body: nn.Module, images: Tensor) -> Tensor:
    """A body's features before pooling; a map always as (N, D, h, w), however it keeps it.

    Raises `BadInput` for a network of several branches, which has no one map.
    """
    features: Tensor | list[Tensor] = body.forward_features(images)  # type: ignore[operator]
    if not isinstance(features, Tensor):
        raise BadInput(
            f"networks of class {type(body).__name__} have several last maps, not one",
            where="model.name",
            remedy="choose another network",
        )
    return features.permute(0, 3, 1, 2) if _keeps_depth_last(body, features) else features


def _keeps_depth_last(body: nn.Module, features: Tensor) -> bool:
    """Whether this body's maps are (N, h, w, D) in its own hands (Swin, MambaOut, Sequencer)."""
    return features.ndim == 4 and getattr(body, "output_fmt", "NCHW") == "NHWC"


class TimmPooling(nn.Module):
    """The body's own way from `last_features` to one vector (average, class token ...)."""

    body: nn.Module

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        # Not registered: the body owns these parameters (MobileNetV3 has a convolution here).
        object.__setattr__(self, "body", body)

    def forward(self, features: Tensor) -> Tensor:
        if _keeps_depth_last(self.body, features):
            features = features.permute(0, 2, 3, 1)
        pooled: Tensor = self.body.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled


class ConcatPooling(nn.Module):
    """Maximum and average over the map, side by side: (N, D, h, w) -> (N, 2 D)."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)


class OneUnit(nn.Module):
    """One sigmoid unit as two logits, the first always 0: (N, 1) -> (N, 2)."""

    def forward(self, unit: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(unit), unit], 1)


class FusedHead(nn.Module):
    """A head that also reads the facts of a case (age, sex, site) through a small network."""

    def __init__(self, head: nn.Module, unknown: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.reader = nn.Sequential(
            nn.Linear(len(unknown), FACTS_WIDTH),
            nn.ReLU(),
            nn.Linear(FACTS_WIDTH, FACTS_WIDTH),
            nn.ReLU(),
        )
        self.head = head
        self.unknown: Tensor
        self.register_buffer("unknown", torch.from_numpy(unknown.copy()))

    def forward(self, embedded: Tensor, facts: Tensor | None = None) -> Tensor:
        if facts is None:
            facts = self.unknown.expand(len(embedded), -1)
        logits: Tensor = self.head(torch.cat([embedded, self.reader(facts)], 1))
        return logits


def build(
    model: ModelSettings,
    shown: InputSettings,
    classes: int,
    *,
    unknown_facts: npt.NDArray[np.float32] | None = None,
) -> Classifier:
    """The classifier of these settings with random weights, on the CPU, in train mode.

    `unknown_facts` is (F,) the code of a case of which nothing is known, for a network that
    reads facts. Random weights come from torch's global generator: seed it first.
    """
    if model.output == "sigmoid" and classes != 2:
        raise BadInput(
            f"one sigmoid output cannot separate {classes} classes",
            where="model.output",
            remedy="--set model.output=softmax",
        )
    body = create_body(
        model.name,
        channels=shown.channels,
        drop_path=model.drop_path,
        size=shown.size,
        dropout=model.dropout,
    )
    pooling, width = _pooling(model, shown, body)
    extra = 0 if unknown_facts is None else FACTS_WIDTH
    head: nn.Module = _head(model, width + extra, 1 if model.output == "sigmoid" else classes)
    if model.output == "sigmoid":
        head = nn.Sequential(head, OneUnit())
    if unknown_facts is not None:
        head = FusedHead(head, unknown_facts)
    kind = "flatten_dense" if model.head == "own" else model.head
    return Classifier(body, pooling, head, kind)


def _pooling(model: ModelSettings, shown: InputSettings, body: nn.Module) -> tuple[nn.Module, int]:
    """The pooling of a head, and how wide its result is; tried on one empty image."""
    flat = model.head in ("flatten_dense", "own")
    pooling: nn.Module = nn.Flatten() if flat else TimmPooling(body)
    if model.head == "concat_pool":
        pooling = ConcatPooling()
    probe = torch.zeros(1, shown.channels, shown.size, shown.size)
    was_training = body.training
    body.eval()
    try:
        with torch.no_grad():
            features = last_features(body, probe)
            if model.head != "linear" and features.ndim != 4:
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


def _head(model: ModelSettings, width: int, outputs: int) -> nn.Module:
    """The head of these settings; `fastai` v1's for concat_pool, Keras' for flatten_dense."""
    if model.head == "concat_pool":
        return _fastai_head(width, outputs, model.dropout)
    if model.head == "flatten_dense":
        return nn.Sequential(
            nn.Dropout(model.dropout),
            nn.Linear(width, model.head_hidden),
            nn.ReLU(),
            nn.Linear(model.head_hidden, outputs),
        )
    if model.head == "own":
        if model.name not in OWN:
            known = ", ".join(OWN)
            raise BadInput(
                f"'{model.name}' has no own head (only {known} have)", where="model.head"
            )
        own = own_head(model.name, width, model.head_hidden, outputs, model.dropout)
        keras_start(own)
        return own
    linear = nn.Linear(width, outputs)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(model.dropout), linear)


def _fastai_head(width: int, outputs: int, dropout: float) -> nn.Module:
    """As fastai v1 builds it: half the dropout before the first layer."""
    return nn.Sequential(
        nn.BatchNorm1d(width),
        nn.Dropout(dropout / 2),
        nn.Linear(width, 512),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(dropout),
        nn.Linear(512, outputs),
    )


def last_linear(head: nn.Module) -> nn.Linear:
    """The layer that gives the logits."""
    layers = [m for m in head.modules() if isinstance(m, nn.Linear)]
    return layers[-1]


def set_prior_bias(network: Classifier, prior: npt.NDArray[np.float64]) -> None:
    """Start the output bias at log prior, so that the first loss is that of the base rates."""
    layer = last_linear(network.head)
    start = np.log(prior) if layer.out_features > 1 else np.log(prior[1:] / prior[:1])
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(start).to(layer.bias))
