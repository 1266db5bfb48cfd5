"""The tutorials' networks and the big trunks: parameters layer by layer."""

from __future__ import annotations

import pytest
import torch

from lesionlab.api.models import describe_model
from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.models.classifier import build, set_prior_bias
from lesionlab.models.zoo import OWN

GREY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}


def counts(described: dict[str, object]) -> list[int]:
    layers = described["layers"]
    assert isinstance(layers, list)
    return [layer["parameters"] for layer in layers if layer["parameters"]]


def test_the_mammogram_tutorial_has_its_72706_parameters() -> None:
    described = describe_model("mias_tutorial")
    assert counts(described) == [320, 18_496, 36_928, 4_160, 12_802]
    assert described["parameters"] == 72_706
    outputs = {layer["name"]: layer["output"] for layer in described["layers"]}
    assert outputs["body.conv1.0"] == (32, 46, 46)
    assert outputs["body.dense.1"] == (64, 10, 10)
    assert outputs["pooling"] == (6400,)


def test_the_melanoma_baseline_has_its_49756_parameters() -> None:
    described = describe_model("melanoma_baseline", output="sigmoid")
    assert described["parameters"] == 49_756
    outputs = {layer["name"]: layer["output"] for layer in described["layers"]}
    sides = [outputs[f"body.separable{i}.3"][-1] for i in (1, 2, 3, 4)]
    assert sides == [74, 24, 7, 1]
    assert outputs["pooling"] == (256,)


def test_the_xception_trunk_is_keras_parameter_by_parameter() -> None:
    described = describe_model("xception", size=224, head="flatten_dense", output="sigmoid")
    head = described["groups"][-1]["parameters"]
    trunk = described["parameters"] - head
    assert head == 1_605_665  # 7 x 7 x 2048 to 16, 16 to 1
    assert described["statistics"] == 54_528
    assert trunk + described["statistics"] == 20_861_480
    assert described["groups"][-2]["parameters"] == 4_748_800  # block 14


@pytest.mark.parametrize(("which", "moving"), [("head", 1_605_665), ("last_block", 6_354_465)])
def test_what_moves_of_xception(which: str, moving: int) -> None:
    described = describe_model(
        "xception", size=224, head="flatten_dense", output="sigmoid", trainable=which
    )
    assert described["trainable"] == moving


def test_the_inception_trunk_differs_from_keras_by_the_scales_of_its_norms() -> None:
    described = describe_model("inception_v3", output="sigmoid", trainable="head")
    trunk = described["parameters"] - 2_049
    scales = described["statistics"] // 2  # one a channel; Keras builds it with scale=False
    assert described["trainable"] == 2_049
    assert trunk + described["statistics"] - scales == 21_802_784


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("head", ["own", "linear", "concat_pool", "flatten_dense"])
def test_every_head_fits_the_tutorials_networks(name: str, head: str) -> None:
    size = OWN[name].size
    model = ModelSettings.model_validate({"name": name, "head": head, "dropout": 0.25})
    shown = InputSettings.model_validate({"size": size, **GREY})
    network = build(model, shown, 3).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 3)


@pytest.mark.parametrize(("name", "size"), [("mias_tutorial", 448), ("melanoma_baseline", 128)])
def test_a_size_that_a_tutorial_is_not_made_for(name: str, size: int) -> None:
    with pytest.raises(BadInput, match=f"takes .* images, not {size} x {size}.*input.size="):
        describe_model(name, size=size)


def test_stochastic_depth_is_refused_where_there_is_none() -> None:
    model = ModelSettings(name="mias_tutorial", head="own", drop_path=0.1)
    with pytest.raises(BadInput, match="no stochastic depth"):
        build(model, InputSettings.model_validate({"size": 48, **GREY}), 2)


def test_the_own_head_belongs_to_the_own_networks() -> None:
    with pytest.raises(BadInput, match="has no own head"):
        describe_model("test_resnet", size=64, head="own")


def test_one_unit_is_two_logits_of_which_the_first_is_zero() -> None:
    model = ModelSettings(name="mias_tutorial", head="own", output="sigmoid")
    shown = InputSettings.model_validate({"size": 48, **GREY})
    network = build(model, shown, 2).eval()
    set_prior_bias(network, torch.tensor([0.8, 0.2]).double().numpy())
    logits = network(torch.zeros(1, 1, 48, 48))  # Keras' start: no bias but the last
    assert logits[0, 0] == 0
    assert torch.sigmoid(logits[0, 1]).item() == pytest.approx(0.2, abs=1e-6)


def test_one_unit_cannot_tell_three_classes_apart() -> None:
    with pytest.raises(BadInput, match="one sigmoid output cannot separate 3 classes"):
        describe_model("test_resnet", size=64, classes=3, output="sigmoid")
