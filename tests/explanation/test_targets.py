"""From which layer a map is read, family by family, and how its output becomes a map."""

from __future__ import annotations

import pytest
import torch

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.explanation.targets import PLACES, Target, family, has_target, target_of
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


def test_a_layout_says_where_the_channels_lie() -> None:
    layer = torch.nn.Identity()
    chart = torch.arange(24.0).reshape(1, 2, 3, 4)  # (N, D, h, w)
    assert torch.equal(Target("a", layer, "NCHW").to_map(chart), chart)
    assert torch.equal(Target("b", layer, "NHWC").to_map(chart.permute(0, 2, 3, 1)), chart)
    square = chart[..., :3]
    tokens = torch.cat([torch.full((1, 2, 2), -1.0), square.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(Target("c", layer, "tokens", prefix=2).to_map(tokens), square)


def test_a_transformer_that_averages_its_patches_is_refused() -> None:
    model = network("vit_tiny_patch16_224", 64)
    assert has_target(model)
    model.body.global_pool = "avg"  # type: ignore[assignment]
    assert not has_target(model)
    with pytest.raises(BadInput, match=r"no target layer .* VisionTransformer") as refusal:
        target_of(model)
    assert "occlusion" in str(refusal.value)


def test_the_target_is_the_very_layer_of_the_table() -> None:
    model = network("test_resnet", 64)
    target = target_of(model)
    assert (family(model), target.layout, target.prefix) == ("ResNet", "NCHW", 0)
    assert target.name == f"body.{PLACES['ResNet'].module}" == "body.layer4"
    assert target.module is model.body.layer4
    transformer = network("vit_tiny_patch16_224", 64)
    body = transformer.body
    assert target_of(transformer).module is list(body.blocks)[-1].norm1  # type: ignore[arg-type]
    assert target_of(transformer).prefix == 1
