"""Batch-norm statistics of these images, in a network that computes what it did.

Pre-trained statistics are those of photographs. Once the backbone trains, a batch norm measures
its own batches, and a skin lesion's lie far from a photograph's: the first steps then undo what
was learnt. Re-estimating the statistics alone would change the function; here scale and shift take
the change up, so that the network in evaluation mode gives the logits it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LEAST_VARIANCE = 1e-6  # of a channel that these images never excite: its statistics stay


@dataclass
class _Moments:
    """Sums over images and places of one layer's inputs, in float64: (C,) each."""

    count: int
    total: Tensor
    squares: Tensor


def reestimate(
    network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], object]
) -> int:
    """Give every batch norm the statistics of its inputs; returns how many were changed.

    `batches` are normalised images, (N, C, H, W) float32, on the network's device; `forward` runs
    them through the part of the network whose norms are meant. In evaluation mode the function
    stays what it was, to rounding: `scale (x - mean) / sd + shift` is written anew for the new
    mean and sd. Norms without scale and shift, and channels without variance, stay as they are.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad(), _watched(network) as moments:
            for images in batches:
                forward(images)
        with torch.no_grad():
            for norm, seen in moments.items():
                _rewrite(norm, seen)
    finally:
        for module, training in modes:
            module.training = training
    return len(moments)


@contextmanager
def _watched(network: nn.Module) -> Iterator[dict[_BatchNorm, _Moments]]:
    """A context in which the inputs of all batch norms that can be rewritten are summed up."""
    moments: dict[_BatchNorm, _Moments] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = inputs[0].detach().cpu().double()  # some devices have no float64
        rest = [d for d in range(values.ndim) if d != 1]
        count, total = values.numel() // values.shape[1], values.sum(rest)
        squares = values.square().sum(rest)
        if norm not in moments:
            moments[norm] = _Moments(0, torch.zeros_like(total), torch.zeros_like(total))
        moments[norm].count += count
        moments[norm].total += total
        moments[norm].squares += squares

    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    hooks = [m.register_forward_pre_hook(add) for m in norms if m.affine and m.track_running_stats]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()


def _rewrite(norm: _BatchNorm, seen: _Moments) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if seen.count < 2:
        return
    old_mean, old_variance, scale, shift = (
        t.detach().cpu().double()
        for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    mean = seen.total / seen.count
    variance = (seen.squares / seen.count - mean.square()) * (seen.count / (seen.count - 1))
    kept = variance <= LEAST_VARIANCE
    mean, variance = torch.where(kept, old_mean, mean), torch.where(kept, old_variance, variance)
    ratio = ((variance + norm.eps) / (old_variance + norm.eps)).sqrt()
    slope = scale / (old_variance + norm.eps).sqrt()
    norm.bias.copy_(shift + slope * (mean - old_mean))
    norm.weight.copy_(scale * ratio)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
