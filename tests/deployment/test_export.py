"""From torch to ONNX: the same answers, no external data, no traces of the machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.deployment.export import Exported, has_cam, to_onnx, torch_logits
from lesionlab.deployment.onnx_check import check_onnx
from lesionlab.explanation.offset import place_offset
from lesionlab.models.classifier import Classifier, ConcatPooling, build

HOW = Preprocessing(size=16)


class Body(nn.Module):
    """A body with batch norm, as timm's have: (N, 3, 16, 16) -> (N, 8, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward_features(self, images: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(images)))


class Average(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


def classifier(kind: str) -> Classifier:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
    wide = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))
    dense = nn.Sequential(nn.Linear(512, 4), nn.ReLU(), nn.Linear(4, 3))
    made = {
        "linear": Classifier(Body(), Average(), linear, "linear"),
        "concat_pool": Classifier(Body(), ConcatPooling(), wide, "concat_pool"),
        "flatten_dense": Classifier(Body(), nn.Flatten(), dense, "flatten_dense"),
    }[kind]
    with torch.no_grad():
        made.train()(torch.randn(8, 3, 16, 16))  # batch-norm statistics other than the defaults
    return made.eval()


def run(exported: Exported, images: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(exported.data, providers=["CPUExecutionProvider"])
    return dict(zip(exported.outputs, session.run(None, {"images": images}), strict=True))


@pytest.mark.parametrize(
    ("kind", "outputs", "width"),
    [
        ("linear", ("logits", "embedding", "cam"), 8),
        ("concat_pool", ("logits", "embedding"), 16),
        ("flatten_dense", ("logits", "embedding"), 8),
    ],
)
def test_each_head(kind: str, outputs: tuple[str, ...], width: int) -> None:
    model = classifier(kind)
    exported = to_onnx(model, HOW)
    assert (exported.outputs, exported.width) == (outputs, width)
    check_onnx(exported.data, "exported")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    images = normalise(pixels, HOW)
    said = run(exported, images)  # five images, though it was traced with two
    np.testing.assert_allclose(said["logits"], torch_logits(model, images), atol=1e-5)
    assert said["embedding"].shape == (5, width)
    if "cam" in said:
        bias = model.head[1].bias.detach().numpy()  # type: ignore[index]
        np.testing.assert_allclose(said["cam"].mean((2, 3)) + bias, said["logits"], atol=1e-5)
    for trace in (b"site-packages", b"stack_trace", __file__.encode()):
        assert trace not in exported.data


def test_a_head_that_only_looks_linear_gets_no_map() -> None:
    """A body whose pooling takes the maximum must not be given an average's map."""

    class Most(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features.amax((2, 3))

    model = classifier("linear")
    images = torch.randn(2, 3, 16, 16)
    assert has_cam(model, images)
    assert not has_cam(Classifier(model.body, Most(), model.head, "linear").eval(), images)


@pytest.mark.slow  # networks of full size
@pytest.mark.parametrize(
    ("name", "wanted"), [("mobilenetv2_100", -0.5), ("tf_efficientnet_lite0", 0.5)]
)
def test_where_the_places_of_the_map_lie_goes_along(name: str, wanted: float) -> None:
    """Padded on all sides they look up and to the left, as TensorFlow pads down and right."""
    torch.manual_seed(0)
    settings = ModelSettings(name=name, pretrained=False)
    network = build(settings, InputSettings(size=64), 2).eval()
    exported = to_onnx(network, Preprocessing(size=64))
    assert "cam" in exported.outputs
    assert exported.cam_offset == pytest.approx((wanted, wanted), abs=0.25)
    assert exported.cam_offset == place_offset(network, (3, 64, 64))


def test_a_network_of_no_known_layer_says_no_offset() -> None:
    assert to_onnx(classifier("linear"), HOW).cam_offset == (0.0, 0.0)
    assert to_onnx(classifier("flatten_dense"), HOW).cam_offset == (0.0, 0.0)
