"""The quick gradient of strided depthwise convolutions is the gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lesionlab.training.depthwise import quicken


def pair(stride: int, kernel: int, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    of = {"stride": stride, "padding": kernel // 2, "groups": 16, "bias": bias}
    plain, quick = nn.Conv2d(16, 16, kernel, **of), nn.Conv2d(16, 16, kernel, **of)
    quick.load_state_dict(plain.state_dict())
    assert quicken(quick) == 1
    return plain, quick


def gradients(conv: nn.Conv2d, images: Tensor, bf16: bool) -> list[Tensor]:
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = conv(images)
    (out.float() * torch.linspace(0.1, 1, out[0, 0].numel()).view(out.shape[2:])).sum().backward()
    found = [out.detach(), images.grad, *(p.grad for p in conv.parameters())]
    return [t for t in found if t is not None]


@pytest.mark.parametrize(("stride", "kernel", "bias"), [(2, 3, False), (2, 5, True), (3, 3, True)])
def test_it_is_the_gradient_to_the_rounding_of_bf16(stride: int, kernel: int, bias: bool) -> None:
    images = torch.randn(4, 16, 21, 17).contiguous(memory_format=torch.channels_last)
    plain, quick = pair(stride, kernel, bias)
    exact = gradients(plain, images, bf16=False)
    for true, found in zip(exact, gradients(quick, images, bf16=True), strict=True):
        assert found.shape == true.shape
        assert float((found.float() - true).abs().max()) < 0.02 * float(true.abs().max())


def test_without_autocast_it_changes_no_bit() -> None:
    images = torch.randn(4, 16, 20, 20)
    plain, quick = pair(2, 3, True)
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


def test_frozen_images_and_weights_get_no_gradient() -> None:
    _, quick = pair(2, 3, False)
    quick.weight.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quick(torch.randn(2, 16, 8, 8, requires_grad=True))
    out.float().sum().backward()
    assert quick.weight.grad is None
