"""Which layer a map is read from, by architecture family: an explicit table, never a guess.

A wrong layer gives a map that looks plausible and is not: after a transformer's last attention,
patch tokens no longer reach the class token, and their gradient is exactly zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from lesionlab.errors import BadInput
from lesionlab.models.classifier import Classifier

Layout = Literal["NCHW", "NHWC", "tokens"]


@dataclass(frozen=True)
class Place:
    """`module` below the body, and how its output lies in memory.

    "NCHW" is (N, D, h, w), "NHWC" (N, h, w, D), "tokens" (N, prefix + h * w, D).
    """

    module: str
    layout: Layout


# The class of the body -> its last layer that still knows places. For convolutions that is the
# map which is pooled; for a transformer with a class token the input of its last attention.
PLACES: dict[str, Place] = {
    "ResNet": Place("layer4", "NCHW"),
    "EfficientNet": Place("bn2", "NCHW"),  # MobileNetV2 too
    "MobileNetV3": Place("blocks", "NCHW"),
    "Xception": Place("act4", "NCHW"),
    "InceptionV3": Place("Mixed_7c", "NCHW"),
    "ConvNeXt": Place("stages", "NCHW"),
    "DenseNet": Place("features", "NCHW"),
    "RegNet": Place("final_conv", "NCHW"),
    "VGG": Place("features", "NCHW"),
    "VisionTransformer": Place("blocks.-1.norm1", "tokens"),  # ViT, DeiT III, DINOv2
    "SwinTransformer": Place("norm", "NHWC"),
    "SwinTransformerV2": Place("norm", "NHWC"),
    "Tutorial": Place("-1", "NCHW"),  # the tutorials' own networks: their last block
}


@dataclass(frozen=True)
class Target:
    """The layer of one network that maps are read from."""

    name: str
    module: nn.Module
    layout: Layout
    prefix: int = 0  # tokens that stand for no place (class token, registers)

    def to_map(self, features: Tensor) -> Tensor:
        """The layer's output as (N, D, h, w)."""
        if self.layout == "NCHW":
            return features
        if self.layout == "NHWC":
            return features.permute(0, 3, 1, 2)
        patches = features[:, self.prefix :]
        side = math.isqrt(patches.shape[1])
        if side * side != patches.shape[1]:
            raise BadInput(f"{patches.shape[1]} patches do not form a square", where=self.name)
        return patches.transpose(1, 2).reshape(len(patches), -1, side, side)


def family(network: Classifier) -> str:
    """The name of the body's class, by which the table is read."""
    return type(network.body).__name__


def has_target(network: Classifier) -> bool:
    """Whether the table knows this network's family, in the form that it speaks of.

    A vision transformer must read its class token after plain blocks: with another pooling the
    places reach the logits by other ways than the last attention.
    """
    name = family(network)
    if name != "VisionTransformer":
        return name in PLACES
    body: Any = network.body
    return body.global_pool == "token" and hasattr(list(body.blocks)[-1], "norm1")


def target_of(network: Classifier) -> Target:
    """The target layer; `BadInput` for a family that the table does not know.

    >>> sorted(PLACES)[:3]
    ['ConvNeXt', 'DenseNet', 'EfficientNet']
    """
    name = family(network)
    if not has_target(network):
        raise BadInput(
            f"no target layer is known for networks of class {name}",
            where="--method",
            remedy="use saliency, smoothgrad, integrated_gradients or occlusion",
        )
    place = PLACES[name]
    module: nn.Module = network.body
    for part in place.module.split("."):
        is_last = part == "-1"
        module = list(module.children())[-1] if is_last else getattr(module, part)
    prefix = int(getattr(network.body, "num_prefix_tokens", 0)) if place.layout == "tokens" else 0
    return Target(f"body.{place.module}", module, place.layout, prefix)
