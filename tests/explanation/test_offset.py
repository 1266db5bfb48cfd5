"""The places of a map are drawn where the network looked, not half a place beside it."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.explanation.cam import cam, upsampled
from lesionlab.explanation.offset import NONE, place_offset
from lesionlab.models.classifier import Classifier, TimmPooling, build
from lesionlab.models.tutorials import Tutorial


def made(name: str, size: int) -> Classifier:
    settings = ModelSettings(name=name, pretrained=False)
    return build(settings, InputSettings(size=size), 2).eval()


def striding(before: int, after: int) -> Classifier:
    """Three 3 x 3 convolutions of stride 2 that only hand on the middle of their window.

    Padded before (above, left) and after; the logit of class 0 is the mean of the places.
    """
    convs: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(3):
        conv = nn.Conv2d(1, 1, 3, 2, bias=False)
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0, 0, 1, 1] = 1
        convs[f"pad{i}"] = nn.ZeroPad2d((before, after, before, after))
        convs[f"conv{i}"] = conv
    linear = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [0.0]]))
    body = Tutorial(convs)
    return Classifier(body, TimmPooling(body), nn.Sequential(linear), "linear")


def test_by_hand() -> None:
    # Place i of three layers sees pixel 8 i; an enlargement puts it at 8 i + 3.5, 7/16 further.
    assert place_offset(striding(1, 1), (1, 32, 32)) == (-0.5, -0.5)  # to a quarter of a place
    # Padded after only, as TensorFlow does it, place i sees pixel 8 i + 7.
    assert place_offset(striding(0, 1), (1, 32, 32)) == (0.5, 0.5)


@pytest.mark.parametrize("side", [8, 12, 16])
def test_a_map_of_one_or_two_places_is_measured_about_its_middle(side: int) -> None:
    assert place_offset(striding(1, 1), (1, side, side)) == (-0.5, -0.5)


def test_the_map_s_highest_point_is_the_pixel_that_speaks() -> None:
    network = striding(1, 1)
    image = torch.zeros((1, 1, 32, 32))
    image[0, 0, 16, 8] = 1
    offset = place_offset(network, (1, 32, 32))
    for given, wanted in ((offset, (16, 8)), (NONE, (20, 12))):
        found = cam(network, image, torch.tensor([0]), offset=given)[0].numpy()
        highest = np.argwhere(found >= found.max() - 1e-6).mean(0)
        assert np.abs(highest - wanted).max() <= 0.5


@pytest.mark.parametrize("offset", [NONE, (-0.5, 0.25)])
def test_a_plain_enlargement_is_torch_s_and_an_offset_moves_it(offset: tuple[float, float]) -> None:
    grid = torch.rand((2, 7, 7), generator=torch.Generator().manual_seed(1))
    images = torch.zeros((2, 3, 56, 56))
    plain = nn.functional.interpolate(grid[:, None], (56, 56), mode="bilinear")[:, 0]
    found = upsampled(grid, images, offset)
    down, right = (round(8 * o) for o in offset)
    moved = torch.roll(plain, (down, right), (1, 2))
    inner = slice(8, -8)
    torch.testing.assert_close(found[:, inner, inner], moved[:, inner, inner], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("resnet18", -0.5),
        ("mobilenetv2_100", -0.5),
        ("tf_mobilenetv3_small_100", 0.5),
        ("tf_efficientnet_lite0", 0.5),
    ],
)
def test_real_networks(name: str, wanted: float) -> None:
    torch.manual_seed(0)
    network = made(name, 128)
    found = place_offset(network, (3, 128, 128))
    assert found == pytest.approx((wanted, wanted), abs=0.25)


def test_a_vision_transformer_s_patches_lie_where_they_are() -> None:
    network = made("test_vit", 160)
    assert place_offset(network, (3, 160, 160)) == NONE
