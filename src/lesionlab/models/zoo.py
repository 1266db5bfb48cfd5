"""Networks by name: an explicit table over timm, and the two tutorials' own networks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from lesionlab.errors import BadInput, nearest


@dataclass(frozen=True)
class Architecture:
    """A body that lesionlab names. `timm_name` is what timm calls it."""

    timm_name: str
    size: int  # pixels, the usual input
    weights_licence: str  # of timm's ImageNet weights


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture("resnet18", 224, "Apache-2.0"),
    "resnet34": Architecture("resnet34", 224, "Apache-2.0"),
    "resnet50": Architecture("resnet50", 224, "Apache-2.0"),
    "resnet101": Architecture("resnet101", 224, "Apache-2.0"),
    "resnet152": Architecture("resnet152", 224, "Apache-2.0"),
    "xception": Architecture("legacy_xception", 299, "Apache-2.0"),
    "inception_v3": Architecture("inception_v3", 299, "Apache-2.0"),
    "mobilenetv2": Architecture("mobilenetv2_100", 224, "Apache-2.0"),
    "mobilenetv3_small": Architecture("mobilenetv3_small_100", 224, "Apache-2.0"),
    "mobilenetv3_large": Architecture("mobilenetv3_large_100", 224, "Apache-2.0"),
    "efficientnet_b0": Architecture("efficientnet_b0", 224, "Apache-2.0"),
    "efficientnet_b3": Architecture("efficientnet_b3", 288, "Apache-2.0"),
    "convnext_tiny": Architecture("convnext_tiny", 224, "Apache-2.0"),
    "convnext_small": Architecture("convnext_small", 224, "Apache-2.0"),
    "vit_small": Architecture("vit_small_patch16_224", 224, "Apache-2.0"),
    "vit_base": Architecture("vit_base_patch16_224", 224, "Apache-2.0"),
    "dinov2_small": Architecture("vit_small_patch14_dinov2", 518, "Apache-2.0"),
    "dinov2_base": Architecture("vit_base_patch14_dinov2", 518, "Apache-2.0"),
}


def create_body(name: str, *, pretrained: bool, channels: int, drop_path: float) -> nn.Module:
    """A timm body without its classifier.

    Raises `BadInput` for an unknown name, and where timm's own weights cannot be downloaded.
    """
    timm_name = ARCHITECTURES[name].timm_name if name in ARCHITECTURES else name
    if not timm.is_model(timm_name):
        known = [*ARCHITECTURES, *timm.list_models()]
        raise BadInput(f"unknown network '{name}'", where="model.name", remedy=nearest(name, known))
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body: nn.Module = timm.create_model(timm_name, pretrained, **options)
    except TypeError as error:
        raise BadInput(f"'{name}' does not take this setting ({error})", where="model") from None
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise BadInput(
            f"timm's weights of '{name}' cannot be had here ({reason[:160]})",
            where="model.pretrained",
            remedy="give a file: --weights FILE.safetensors, or --set model.pretrained=false",
        ) from None
    return body
