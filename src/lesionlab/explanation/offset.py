"""Where in the picture the places of a layer's map lie.

A 3 x 3 convolution of stride 2 that pads one pixel on all sides centres its first place on the
first pixel, not between the first two. Five of them, as in ResNet or MobileNetV2, move all places
half a place up and to the left of where a plain enlargement draws them; padding as TensorFlow does
it moves them down and to the right. Measured by tests/explanation/test_offset.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lesionlab.explanation.evidence import held_still
from lesionlab.explanation.targets import target_of
from lesionlab.models.classifier import Classifier

Offset = tuple[float, float]  # down and right, in places; (0, 0): where an enlargement puts them
NONE: Offset = (0.0, 0.0)
LARGER = 2  # times the side, so that what a place in the middle sees is not cut off
DRAWS = 4  # noise pictures
AROUND = 2  # places on each side of the middle: one alone is noisy
STEP = 0.25  # of a place: what is told apart from the noise of the measurement


def place_offset(network: Classifier, size: tuple[int, int, int]) -> Offset:
    """How far the places of the target layer lie from where an enlargement puts them.

    `size` is (C, H, W) of the input. Measured as the centre of mass of the gradient's size, from
    places in the middle to noise pictures of twice the side; to a quarter of a place. `NONE` for
    transformers, whose patches lie where they are, and for networks that take one size only.
    """
    target = target_of(network)
    if target.layout != "NCHW":
        return NONE
    channels, height, width = size
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn((DRAWS, channels, LARGER * height, LARGER * width), generator=draw)
    images = noise.to(next(network.parameters())).requires_grad_(True)
    try:
        return _measured(network, images, draw)
    except (RuntimeError, ValueError, AssertionError):
        return NONE  # it cannot be given another size


def _measured(network: Classifier, images: Tensor, draw: torch.Generator) -> Offset:
    target, kept = target_of(network), []
    hook = target.module.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        with held_still(network), torch.enable_grad():
            network.feature_map(images)
    finally:
        hook.remove()
    features = target.to_map(kept[-1])
    h, w = features.shape[2:]
    middle = features[:, :, _about(h), _about(w)]
    signs = torch.randn(middle.shape, generator=draw).sign().to(middle)
    (gradient,) = torch.autograd.grad((middle * signs).sum(), images)
    mass = gradient.abs().sum((0, 1)).double()
    return _rounded(mass.sum(1), h), _rounded(mass.sum(0), w)


def _about(places: int) -> slice:
    """Some places in the middle of a side."""
    around = min(AROUND, places // 2)
    return slice(places // 2 - around, places // 2 + around)


def _rounded(mass: Tensor, places: int) -> float:
    """Of `mass` along one side: its centre less that of the places `_about` the middle."""
    if not float(mass.sum()) > 0:
        return 0.0
    pixels = torch.arange(len(mass), dtype=torch.float64, device=mass.device) + 0.5
    centre = float((mass * pixels).sum() / mass.sum()) * places / len(mass)
    return round((centre - places // 2) / STEP) * STEP
