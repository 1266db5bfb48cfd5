"""Strided depthwise convolutions in bf16 on a processor, with a gradient that is not slow.

oneDNN has no fast kernel for the gradient of the images of a depthwise convolution with a stride in
bf16: it falls back to a plain loop that takes twenty times as long as its float32 kernel
(docs/decisions/0084). So that one gradient is computed in float32 and rounded to bf16 once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn


class _Strided(torch.autograd.Function):
    """The convolution itself in the dtype it is given; see the module."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, how: Any) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.how, ctx.bias_sizes = how, None if bias is None else bias.shape
        stride, padding, dilation, groups = how
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        rest = (stride, padding, dilation, False, (0, 0), groups)
        wanted = ctx.needs_input_grad
        of_images = None
        if wanted[0]:
            shape = torch.empty_like(images, dtype=torch.float32)  # its values are not read
            given = gradients[0].float(), shape, weight.float()
            found = torch.ops.aten.convolution_backward(*given, None, *rest, (True, False, False))
            of_images = found[0].to(images.dtype)
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradients[0], images, weight, ctx.bias_sizes, *rest, (False, wanted[1], wanted[2])
        )
        return of_images, of_weight, of_bias, None


class StridedDepthwise(nn.Conv2d):
    """A strided depthwise convolution with the quick gradient, on another's own parameters.

    Outside a CPU autocast it computes what the other did, bit for bit. With `pads_same` it pads
    as TensorFlow does (timm's `Conv2dSame`): as much as the size of the images asks for, the odd
    pixel after them.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.pads_same = type(conv) is Conv2dSame
        self.train(conv.training)

    def forward(self, images: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.pads_same:
            images = pad_same(
                images, list(self.kernel_size), list(self.stride), list(self.dilation)
            )
            padding = (0, 0)
        how = (self.stride, padding, self.dilation, self.groups)
        if not torch.is_autocast_enabled("cpu") or images.device.type != "cpu":
            return F.conv2d(images, self.weight, self.bias, *how)
        dtype = torch.get_autocast_dtype("cpu")
        given = [None if t is None else t.to(dtype) for t in (images, self.weight, self.bias)]
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _Strided.apply(*given, how)
        return result


def quicken(network: nn.Module) -> int:
    """Put a `StridedDepthwise` in the place of each strided depthwise convolution; how many.

    Names, weights and what hangs on them (an optimiser, an average) stay as they are. A network
    that is one such convolution itself has no place to put it, and is left alone.

    >>> quicken(nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.Conv2d(8, 8, 1)))
    1
    """
    found = [(n, m) for n, m in network.named_modules() if n and _can_be_quick(m)]
    for name, conv in found:
        if not isinstance(conv, StridedDepthwise):
            network.set_submodule(name, StridedDepthwise(conv))
    return len(found)


def slow_convolutions(network: nn.Module) -> list[str]:
    """The names of the strided depthwise convolutions that `quicken` does not cover."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and _is_strided_depthwise(module)
        if not _can_be_quick(module)
    ]


def _is_strided_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels > 1 and max(conv.stride) > 1


def _can_be_quick(module: nn.Module) -> bool:
    """Whether the module computes what `StridedDepthwise` does: a subclass might not."""
    if not isinstance(module, nn.Conv2d):
        return False
    known = type(module) in (nn.Conv2d, Conv2dSame, StridedDepthwise)
    plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    return known and plain and not hooked and _is_strided_depthwise(module)
