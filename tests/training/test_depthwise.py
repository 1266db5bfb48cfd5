"""The quick gradient of strided depthwise convolutions is the gradient."""

from __future__ import annotations

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.models.classifier import build
from lesionlab.training.depthwise import StridedDepthwise, quicken, slow_convolutions


def pair(
    stride: int, kernel: int, bias: bool, kind: type[nn.Conv2d] = nn.Conv2d
) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    padding = 0 if kind is Conv2dSame else kernel // 2
    of = {"stride": stride, "padding": padding, "groups": 16, "bias": bias}
    plain, network = kind(16, 16, kernel, **of), nn.Sequential(kind(16, 16, kernel, **of))
    network[0].load_state_dict(plain.state_dict())
    weight = network[0].weight
    assert quicken(network) == 1
    assert quicken(network) == 1, "what is quick already counts"
    quick = network[0]
    assert isinstance(quick, StridedDepthwise)
    assert quick.weight is weight, "an optimiser may hold it"
    return plain, quick


def gradients(conv: nn.Module, images: Tensor, bf16: bool) -> list[Tensor]:
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = conv(images)
    (out.float() * torch.linspace(0.1, 1, out[0, 0].numel()).view(out.shape[2:])).sum().backward()
    found = [out.detach(), images.grad, *(p.grad for p in conv.parameters())]
    return [t for t in found if t is not None]


KINDS = pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])


@KINDS
@pytest.mark.parametrize(("stride", "kernel", "bias"), [(2, 3, False), (2, 5, True), (3, 3, True)])
def test_it_is_the_gradient_to_the_rounding_of_bf16(
    stride: int, kernel: int, bias: bool, kind: type[nn.Conv2d]
) -> None:
    images = torch.randn(4, 16, 21, 17).contiguous(memory_format=torch.channels_last)
    plain, quick = pair(stride, kernel, bias, kind)
    exact = gradients(plain, images, bf16=False)
    for true, found in zip(exact, gradients(quick, images, bf16=True), strict=True):
        assert found.shape == true.shape
        assert float((found.float() - true).abs().max()) < 0.02 * float(true.abs().max())


@KINDS
@pytest.mark.parametrize("side", [19, 20])
def test_without_autocast_it_changes_no_bit(side: int, kind: type[nn.Conv2d]) -> None:
    images = torch.randn(4, 16, side, side + 3)
    plain, quick = pair(2, 3, True, kind)
    both = gradients(plain, images, bf16=False), gradients(quick, images, bf16=False)
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_only_strided_depthwise_convolutions_with_zero_padding_are_touched() -> None:
    others = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, groups=4),
        nn.Conv2d(1, 1, 3, stride=2),
        nn.Conv2d(8, 8, 3, stride=2, groups=8, padding=1, padding_mode="reflect"),
    )
    assert quicken(others) == 0
    assert slow_convolutions(others) == ["3"]


class Foreign(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 1


def test_what_computes_something_else_is_named_and_left_alone() -> None:
    network = nn.Sequential(Foreign(8, 8, 3, stride=2, groups=8))
    assert quicken(network) == 0
    assert slow_convolutions(network) == ["0"]


@pytest.mark.parametrize(
    ("name", "strided"), [("tf_efficientnet_lite0", 4), ("mobilenetv2_100", 4), ("test_resnet", 0)]
)
def test_whole_networks_keep_names_values_and_gradients(name: str, strided: int) -> None:
    torch.manual_seed(0)
    plain = build(ModelSettings(name=name), InputSettings(size=64), 3).eval()
    quick = build(ModelSettings(name=name), InputSettings(size=64), 3).eval()
    quick.load_state_dict(plain.state_dict())
    assert quicken(quick) == strided
    assert not slow_convolutions(quick)
    assert list(quick.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    outs = [network(x) for network in (plain, quick)]
    assert torch.equal(*outs)
    for out in outs:
        out.square().sum().backward()
    for (key, a), (_, b) in zip(plain.named_parameters(), quick.named_parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad), key


def test_frozen_images_and_weights_get_no_gradient() -> None:
    _, quick = pair(2, 3, False)
    quick.weight.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quick(torch.randn(2, 16, 8, 8, requires_grad=True))
    out.float().sum().backward()
    assert quick.weight.grad is None
