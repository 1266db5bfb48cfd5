"""Strided depthwise convolutions in bf16 on a processor, with a gradient that is not slow.

oneDNN has no fast kernel for the gradient of the images of a depthwise convolution with a stride in
bf16: it falls back to a plain loop that takes twenty times as long as its float32 kernel
(docs/decisions/0084). So that one gradient is computed in float32 and rounded to bf16 once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
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


def _forward(how: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not torch.is_autocast_enabled("cpu"):
        return F.conv2d(images, weight, bias, *how)
    dtype = torch.get_autocast_dtype("cpu")
    given = [None if t is None else t.to(dtype) for t in (images, weight, bias)]
    with torch.autocast("cpu", enabled=False):
        result: Tensor = _Strided.apply(*given, how)
    return result


def quicken(network: nn.Module) -> int:
    """Give every strided depthwise convolution of `network` the quick gradient; how many there are.

    Outside a CPU autocast they compute what they did; names and weights stay as they are. A
    convolution with a forward of its own (timm's Conv2dSame, in `tf_` networks) is left alone.

    >>> quicken(nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.Conv2d(8, 8, 1)))
    1
    """
    found = [m for m in network.modules() if type(m) is nn.Conv2d and _is_strided_depthwise(m)]
    for conv in found:
        how = (conv.stride, conv.padding, conv.dilation, conv.groups)
        conv._conv_forward = partial(_forward, how)  # type: ignore[method-assign]
    return len(found)


def _is_strided_depthwise(conv: nn.Conv2d) -> bool:
    plain = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return plain and conv.groups == conv.in_channels > 1 and max(conv.stride) > 1
