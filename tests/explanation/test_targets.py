"""From which layer a map is read, family by family, and how its output becomes a map."""

from __future__ import annotations

import pytest
import torch

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.explanation.targets import target_of
from lesionlab.models.classifier import Classifier, build


def network(name: str, size: int) -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings(name=name, pretrained=False)
    return build(settings, InputSettings(size=size), 3).eval()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("mobilenetv2", 64),
        ("mobilenetv3_small", 64),
        ("efficientnet_b0", 64),
        ("test_convnext", 64),
        ("xception", 96),
        ("inception_v3", 80),
        ("densenet121", 64),
        ("regnety_002", 64),
        ("swin_tiny_patch4_window7_224", 224),
    ],
)
def test_target_of_a_convolutional_or_swin_network_is_what_is_pooled(name: str, size: int) -> None:
    model = network(name, size)
    target = target_of(model)
    kept = []
    hook = target.module.register_forward_hook(lambda m, i, output: kept.append(output))
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        features = model.feature_map(images)
    hook.remove()
    shown = target.to_map(kept[-1])
    assert torch.allclose(shown, features)
    assert shown.shape[2] == shown.shape[3] < shown.shape[1]


def test_prefix_tokens_are_no_places() -> None:
    model = network("vit_tiny_patch16_224", 64)
    tokens = torch.arange(17.0).reshape(1, 17, 1)
    assert target_of(model).to_map(tokens)[0, 0, 0].tolist() == [1, 2, 3, 4]


def test_tokens_that_are_no_square_are_refused() -> None:
    model = network("vit_tiny_patch16_224", 64)
    with pytest.raises(BadInput, match="5 patches do not form a square"):
        target_of(model).to_map(torch.zeros(1, 6, 2))
