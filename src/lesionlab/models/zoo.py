"""Networks by name: an explicit table over timm, and the two tutorials' own networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn

from lesionlab.errors import BadInput, nearest
from lesionlab.models.tutorials import Tutorial, keras_start, melanoma_baseline, mias_tutorial


@dataclass(frozen=True)
class Architecture:
    """A body that lesionlab names: what timm calls it, and its usual input in pixels."""

    timm_name: str
    size: int


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture("resnet18", 224),
    "resnet34": Architecture("resnet34", 224),
    "resnet50": Architecture("resnet50", 224),
    "resnet101": Architecture("resnet101", 224),
    "resnet152": Architecture("resnet152", 224),
    "xception": Architecture("legacy_xception", 299),
    "inception_v3": Architecture("inception_v3", 299),
    "mobilenetv2": Architecture("mobilenetv2_100", 224),
    "mobilenetv3_small": Architecture("mobilenetv3_small_100", 224),
    "mobilenetv3_large": Architecture("mobilenetv3_large_100", 224),
    "efficientnet_lite0": Architecture("tf_efficientnet_lite0", 224),
    "efficientnet_lite1": Architecture("tf_efficientnet_lite1", 240),
    "efficientnet_lite2": Architecture("tf_efficientnet_lite2", 260),
    "efficientnet_b0": Architecture("efficientnet_b0", 224),
    "efficientnet_b3": Architecture("efficientnet_b3", 288),
    "convnext_tiny": Architecture("convnext_tiny", 224),
    "convnext_small": Architecture("convnext_small", 224),
    "vit_small": Architecture("vit_small_patch16_224", 224),
    "vit_base": Architecture("vit_base_patch16_224", 224),
    "dinov2_small": Architecture("vit_small_patch14_dinov2", 518),
    "dinov2_base": Architecture("vit_base_patch14_dinov2", 518),
}


@dataclass(frozen=True)
class OwnNetwork:
    """A body of our own: random start, one input size."""

    make: Callable[[int, float], Tutorial]  # (channels, dropout)
    size: int


OWN: dict[str, OwnNetwork] = {
    "mias_tutorial": OwnNetwork(mias_tutorial, 48),
    "melanoma_baseline": OwnNetwork(melanoma_baseline, 224),
}


def create_body(
    name: str,
    *,
    channels: int,
    drop_path: float,
    size: int = 224,
    dropout: float = 0.0,
) -> nn.Module:
    """A body without its classifier, at random: (N, channels, size, size) images.

    `dropout` acts inside the tutorials' networks only. Raises `BadInput` for an unknown name, an
    input size that the network is not made for.
    """
    if name in OWN:
        return _own_body(name, channels, drop_path, size, dropout)
    timm_name = timm_name_of(name)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if drop_path:
        options["drop_path_rate"] = drop_path
    cfg = timm.get_pretrained_cfg(timm_name)
    if cfg is not None and cfg.fixed_input_size:  # a transformer's positions are made for a size
        options["img_size"] = size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body: nn.Module = timm.create_model(timm_name, **options)
    except (TypeError, AssertionError) as error:
        raise BadInput(f"'{name}' does not accept this setting ({error})", where="model") from None
    return body


def _own_body(name: str, channels: int, drop_path: float, size: int, dropout: float) -> Tutorial:
    own = OWN[name]
    if size != own.size:
        raise BadInput(
            f"'{name}' takes {own.size} x {own.size} images, not {size} x {size}",
            where="input.size",
            remedy=f"--set input.size={own.size}, or choose another network",
        )
    if drop_path:
        raise BadInput(f"'{name}' has no stochastic depth", where="model.drop_path")
    body = own.make(channels, dropout)
    keras_start(body)
    return body


def timm_name_of(name: str) -> str:
    """What timm calls a network; `BadInput` with the nearest name for an unknown one.

    A name may end in the tag of its weights ("resnet18.tv_in1k"), which must be one of timm's.
    """
    timm_name = ARCHITECTURES[name].timm_name if name in ARCHITECTURES else name
    if not timm.is_model(timm_name):
        known = [*ARCHITECTURES, *OWN, *timm.list_models()]
        raise BadInput(f"unknown network '{name}'", where="model.name", remedy=nearest(name, known))
    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError:
        known = timm.list_pretrained(f"{timm_name.partition('.')[0]}.*")
        raise BadInput(
            f"'{name}' refers to weights that timm does not have",
            where="model.name",
            remedy=nearest(name, known),
        ) from None
    return timm_name


def usual_size(name: str) -> int:
    """Pixels a side of the network's usual input."""
    if name in OWN:
        return OWN[name].size
    if name in ARCHITECTURES:
        return ARCHITECTURES[name].size
    cfg = timm.get_pretrained_cfg(timm_name_of(name))
    return int(cfg.input_size[-1]) if cfg is not None else 224


def weights_licence(name: str) -> str:
    """The licence of timm's own weights, as timm states it; "none" for a random start."""
    if name in OWN:
        return "none (random start)"
    cfg = timm.get_pretrained_cfg(timm_name_of(name))
    return str(cfg.license) if cfg is not None and cfg.license else "not stated"


def body_size(name: str) -> int:
    """Parameters of the body alone; nothing is allocated for them."""
    with torch.device("meta"):
        body = create_body(name, channels=3, drop_path=0.0, size=usual_size(name))
    return sum(p.numel() for p in body.parameters())
