"""Heads, inputs of any size and colour, weights in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.errors import BadInput
from lesionlab.models.classifier import (
    Classifier,
    FusedHead,
    build,
    last_linear,
    set_prior_bias,
)
from lesionlab.models.state_dicts import load_body
from lesionlab.models.tensor_files import read_tensors, write_tensors

GREY = InputSettings(size=64, channels=1, mean=(0.5,), std=(0.5,))


def network(name: str = "test_resnet", size: int = 64, **model: object) -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings.model_validate({"name": name, "pretrained": False, **model})
    return build(settings, InputSettings(size=size), 3)


@pytest.mark.parametrize("head", ["linear", "concat_pool", "flatten_dense"])
@pytest.mark.parametrize("size", [64, 96])
def test_every_head_at_any_size(head: str, size: int) -> None:
    made = network(size=size, head=head, dropout=0.5).eval()
    images = torch.randn(2, 3, size, size)
    logits = made(images)
    assert logits.shape == (2, 3)
    assert torch.equal(logits, made.classify(made.embed(images)))


def test_the_fastai_head_is_fastais() -> None:
    made = network(head="concat_pool", dropout=0.5)
    kinds = [type(m) for m in made.head]  # type: ignore[union-attr, arg-type]
    assert kinds == [
        *(nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU),
        *(nn.BatchNorm1d, nn.Dropout, nn.Linear),
    ]
    rates = [m.p for m in made.head.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.25, 0.5]
    features = torch.randn(2, 5, 3, 3)
    pooled = made.pool(features)
    assert torch.equal(pooled[:, :5], features.amax((2, 3)))
    assert torch.allclose(pooled[:, 5:], features.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_mambaout", 64), ("swin_tiny_patch4_window7_224", 224), ("sequencer2d_s", 64)],
)
def test_a_map_whose_depth_lies_last_is_pooled_over_its_places(name: str, size: int) -> None:
    plain = network(name, size=size).eval()
    depth = int(plain.body.num_features)  # type: ignore[arg-type]
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = plain.feature_map(images)
        own = plain.body.forward_head(plain.body.forward_features(images), pre_logits=True)  # type: ignore[operator]
        assert torch.equal(plain.pool(features), own)
    assert features.shape[1] == depth
    assert features.shape[2] == features.shape[3]
    pooled = network(name, size=size, head="concat_pool")
    assert pooled.head[0].num_features == 2 * depth  # type: ignore[index]
    flat = network(name, size=size, head="flatten_dense")
    assert flat.head[1].in_features == features[0].numel()  # type: ignore[index]


def test_a_network_of_several_branches_is_refused() -> None:
    with pytest.raises(BadInput, match=r"CrossVit have several last maps.*another network"):
        network("crossvit_tiny_240", size=240)


def test_a_head_that_needs_a_map_says_so() -> None:
    with pytest.raises(BadInput, match="needs a feature map and 'test_vit' has none"):
        network("test_vit", size=160, head="concat_pool")


def test_transformers_take_another_size() -> None:
    assert network("test_vit", size=96).eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 3)


def test_grey_input() -> None:
    made = build(ModelSettings(name="test_resnet"), GREY, 2).eval()
    assert made(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


def test_the_output_bias_starts_at_the_prior() -> None:
    prior = np.array([0.7, 0.2, 0.1])
    made = network()
    set_prior_bias(made, prior)
    last_linear(made.head).weight.data.zero_()
    shown = torch.softmax(made.eval()(torch.randn(1, 3, 64, 64)), 1)
    assert shown[0].tolist() == pytest.approx(prior.tolist(), abs=1e-6)


# --- weights ------------------------------------------------------------------------------


def body_file(path: Path, body: nn.Module, **changes: Tensor | None) -> Path:
    tensors = {**body.state_dict(), **changes}
    write_tensors(path, {k: v for k, v in tensors.items() if v is not None}, {})
    return path


def test_a_bodys_weights_come_back_and_a_foreign_classifier_is_left_out(tmp_path: Path) -> None:
    source, target = network().body, network("test_resnet").body
    with torch.no_grad():
        for value in source.parameters():
            value.add_(1)
    path = body_file(tmp_path / "w.safetensors", source, **{"fc.weight": torch.zeros(9, 9)})
    load_body(target, path)
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_weights_of_another_architecture_list_what_does_not_fit(tmp_path: Path) -> None:
    path = body_file(tmp_path / "w.safetensors", network("test_efficientnet").body)
    with pytest.raises(BadInput, match=r"keys \(.*, \.\.\.\) missing; .* unexpected"):
        load_body(network("test_resnet").body, path)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    body = network().body
    first = next(iter(body.state_dict()))
    path = body_file(tmp_path / "w.safetensors", body, **{first: torch.zeros(1)})
    with pytest.raises(BadInput, match=rf"1 key \({first}\) of another shape"):
        load_body(network().body, path)


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    body = network().body
    broken = body.state_dict()["bn1.bias"].clone().fill_(float("nan"))
    path = body_file(tmp_path / "w.safetensors", body, **{"bn1.bias": broken})
    with pytest.raises(BadInput, match="NaN"):
        load_body(network().body, path)


def test_colour_weights_fit_grey_input_as_a_sum(tmp_path: Path) -> None:
    colour = network().body
    path = body_file(tmp_path / "w.safetensors", colour)
    grey = build(ModelSettings(name="test_resnet"), GREY, 2).body
    load_body(grey, path)
    stem = f"{colour.pretrained_cfg['first_conv']}.weight"  # type: ignore[index]
    expected = colour.state_dict()[stem].sum(1, keepdim=True)
    assert torch.allclose(grey.state_dict()[stem], expected, atol=1e-6)


def test_positions_are_resampled_for_another_size(tmp_path: Path) -> None:
    path = body_file(tmp_path / "w.safetensors", network("test_vit", size=160).body)
    smaller = network("test_vit", size=96).body
    load_body(smaller, path)
    assert smaller(torch.zeros(1, 3, 96, 96)).isfinite().all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"short", "absurd header"),
        (b"\xff" * 64, "absurd header"),
        (b"\x08\0\0\0\0\0\0\0notjson!", "not a readable safetensors"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_tensors(tmp_path / "w.safetensors")


def test_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        read_tensors(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        read_tensors(tmp_path / "w.safetensors")


# --- facts --------------------------------------------------------------------------------


def test_facts_join_before_the_head_and_unknown_is_the_default() -> None:
    unknown = np.array([0, 1, 0, 0, 1], np.float32)
    settings = ModelSettings(name="test_resnet", pretrained=False)
    made = build(settings, InputSettings(size=64), 2, unknown_facts=unknown)
    made.eval()
    assert isinstance(made.head, FusedHead)
    images = torch.randn(2, 3, 64, 64)
    facts = torch.tensor(unknown).expand(2, -1)
    assert torch.equal(made(images), made(images, facts))
    known = torch.tensor([[1.5, 0, 1, 0, 0], [-1, 0, 0, 1, 0]])
    assert not torch.allclose(made(images), made(images, known))
    assert last_linear(made.head).in_features == 32 + made.embed(images).shape[1]
