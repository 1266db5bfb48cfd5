"""Networks by name: what they are called, how large they are, and what they refuse."""

from __future__ import annotations

import pytest
import timm
import torch

from lesionlab.errors import BadInput
from lesionlab.models.zoo import (
    ARCHITECTURES,
    OWN,
    body_size,
    create_body,
    timm_name_of,
    usual_size,
    weights_licence,
)


@pytest.mark.parametrize("name", ["resnet18x", "mobilenetv2_10O"])
def test_an_unknown_network_gets_the_nearest_name(name: str) -> None:
    with pytest.raises(BadInput, match=f"unknown network '{name}'; did you mean"):
        create_body(name, channels=3, drop_path=0.0)


def test_unknown_weights_of_a_network_get_the_nearest_tag() -> None:
    with pytest.raises(
        BadInput, match=r"weights that timm does not have; did you mean 'resnet18.a1"
    ):
        create_body("resnet18.a1_in1", channels=3, drop_path=0.0)


def test_stochastic_depth_where_a_network_has_none_is_refused() -> None:
    with pytest.raises(BadInput, match="does not accept this setting"):
        create_body("vgg11", channels=3, drop_path=0.1)


def test_every_named_network_is_one_of_timms() -> None:
    assert all(timm.is_model(a.timm_name) for a in ARCHITECTURES.values())


@pytest.mark.parametrize("name", [*ARCHITECTURES, *OWN])
def test_every_named_network_has_the_input_and_the_licence_of_its_weights(name: str) -> None:
    cfg = None if name in OWN else timm.get_pretrained_cfg(timm_name_of(name))
    if cfg is None:
        assert weights_licence(name) == "none (random start)"
    else:
        assert weights_licence(name) == cfg.license
        assert usual_size(name) in (cfg.input_size[-1], (cfg.test_input_size or (0,))[-1])


def test_a_name_of_our_own_is_another_for_timm_and_any_other_stays() -> None:
    assert timm_name_of("xception") == "legacy_xception"
    assert timm_name_of("regnety_002") == "regnety_002"
    assert timm_name_of("resnet18.tv_in1k") == "resnet18.tv_in1k"
    assert usual_size("test_resnet") == 160
    assert usual_size("mias_tutorial") == 48


def test_nothing_is_allocated_for_a_count() -> None:
    """ResNet-18 without its classifier, as torchvision counts it: 11,689,512 - 513,000."""
    assert body_size("resnet18") == 11_176_512


def test_transformers_are_made_for_a_size_and_others_are_not() -> None:
    with torch.device("meta"):
        small = create_body("vit_small", channels=3, drop_path=0.0, size=96)
        large = create_body("vit_small", channels=3, drop_path=0.0, size=224)
    assert small.pos_embed.shape[1] == 6 * 6 + 1  # type: ignore[index, union-attr]
    assert large.pos_embed.shape[1] == 14 * 14 + 1  # type: ignore[index, union-attr]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_first_layer_has_the_channels_of_the_images(channels: int) -> None:
    body = create_body("test_resnet", channels=channels, drop_path=0.0).eval()
    assert body(torch.zeros(2, channels, 64, 64)).shape[0] == 2
    assert next(body.parameters()).shape[1] == channels


def test_our_own_networks_have_one_size_and_no_stochastic_depth() -> None:
    with pytest.raises(BadInput, match="takes 48 x 48 images, not 64 x 64") as error:
        create_body("mias_tutorial", channels=1, drop_path=0.0, size=64)
    assert "--set input.size=48" in str(error.value)
    with pytest.raises(BadInput, match="has no stochastic depth"):
        create_body("mias_tutorial", channels=1, drop_path=0.1, size=48)
