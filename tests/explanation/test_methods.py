"""Every method on a network whose map is known by hand; what none of them may change; refusals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import toys
from helpers.toys import CLASS_0, SIDE, network
from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.errors import BadInput
from lesionlab.explanation import attribution, cam, methods
from lesionlab.explanation.evidence import evidence, held_still
from lesionlab.explanation.targets import PLACES
from lesionlab.models.classifier import FusedHead, build


def test_evidence_ignores_what_all_logits_share() -> None:
    logits = torch.tensor([[1.0, 4.0, 1.0]])
    assert evidence(logits, torch.tensor([1])).tolist() == [3.0]
    assert evidence(logits + 7, torch.tensor([1])).tolist() == [3.0]


def test_saliency_is_the_gradient(image: torch.Tensor) -> None:
    linear = attribution.saliency(toys.averaging(), image, CLASS_0)
    assert torch.allclose(linear, torch.full((1, SIDE, SIDE), 4 / SIDE**2), atol=1e-6)
    one = image[:, :1]
    square = attribution.saliency(toys.squaring(), one, CLASS_0)
    assert torch.allclose(square[0], 2 * one[0, 0] / SIDE**2, atol=1e-7)


def test_smoothgrad_of_a_squaring_network_is_its_gradient_in_the_mean_of_the_noise(
    monkeypatch: pytest.MonkeyPatch, image: torch.Tensor
) -> None:
    one = image[:, :1]
    monkeypatch.setattr(attribution, "NOISY", 400)
    found = attribution.smoothgrad(toys.squaring(), one, CLASS_0)[0]
    by_hand = 2 * one[0, 0] / SIDE**2
    assert float((found - by_hand).abs().max()) < 0.15 * float(by_hand.max())
    linear = attribution.smoothgrad(toys.averaging(), image, CLASS_0)
    assert torch.allclose(linear, torch.full((1, SIDE, SIDE), 4 / SIDE**2), atol=1e-6)


def test_smoothgrad_of_an_image_does_not_depend_on_its_batch() -> None:
    images = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    classes = torch.zeros(3, dtype=torch.int64)
    together = attribution.smoothgrad(toys.squaring(), images, classes)
    alone = attribution.smoothgrad(toys.squaring(), images[1:2], CLASS_0)
    assert torch.allclose(together[1:2], alone)


def test_integrated_gradients_of_a_squaring_network_is_the_square(image: torch.Tensor) -> None:
    one = image[:, :1]
    found, gap = attribution.integrated(toys.squaring(), one, CLASS_0)
    assert torch.allclose(found[0, 0], one[0, 0] ** 2 / SIDE**2, atol=1e-6)
    assert abs(float(gap)) < 1e-5


def test_integrated_gradients_sums_the_channels(image: torch.Tensor) -> None:
    by_hand = torch.einsum("d,dhw->hw", toys.OWN_LESS_OTHER, image[0]) / SIDE**2
    found = attribution.integrated_gradients(toys.averaging(), image, CLASS_0)
    assert torch.allclose(found[0], by_hand, atol=1e-6)


def test_integrated_gradients_is_complete_on_a_real_architecture() -> None:
    model = network("test_resnet", 64)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1])
    nn.init.normal_(model.head[-1].weight)
    found, gap = attribution.integrated(model, images, classes, steps=64)
    whole = evidence(model(images), classes) - evidence(model(0 * images), classes)
    assert torch.allclose(found.sum((1, 2, 3)), whole.detach() + gap, atol=1e-3)
    assert float((gap.abs() / whole.detach().abs()).max()) < 0.05


def test_occlusion_is_what_each_square_holds(image: torch.Tensor) -> None:
    one = image[:, :1]
    weights = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(3)) - 0.5
    found = attribution.occlusion(toys.flattening(SIDE, weights), one, CLASS_0)[0]
    squares = (weights * one[0, 0]).reshape(7, 2, 7, 2).sum((1, 3))
    by_hand = squares.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.allclose(found, by_hand, atol=1e-5)


def test_refusals_name_the_reason_and_what_applies() -> None:
    with pytest.raises(BadInput, match=r"not an average.*these do: gradcam, saliency"):
        methods.method("cam", toys.flattening(4, torch.ones(4, 4)))
    with pytest.raises(BadInput, match="not a vision transformer"):
        methods.method("attention_rollout", toys.averaging())
    with pytest.raises(BadInput, match="did you mean 'gradcam'"):
        methods.method("grad-cam", toys.averaging())
    assert methods.applicable(network("vit_tiny_patch16_224", 64))[:2] == (
        "gradcam",
        "attention_rollout",
    )


def test_an_unknown_family_has_no_target_but_keeps_the_other_methods() -> None:
    model = network("test_mambaout", 64)
    assert type(model.body).__name__ not in PLACES
    with pytest.raises(BadInput, match="no target layer is known for networks of class MambaOut"):
        methods.method("gradcam", model)
    assert methods.applicable(model) == (
        "saliency",
        "smoothgrad",
        "integrated_gradients",
        "occlusion",
    )


def test_a_head_that_reads_facts_has_no_class_activation_map() -> None:
    toy = toys.averaging()
    toy.head = FusedHead(nn.Sequential(nn.Linear(34, 2)), np.zeros(3, np.float32))
    with pytest.raises(BadInput, match="also reads facts"):
        methods.method("cam", toy)


@pytest.mark.parametrize("name", ["gradcam", *methods.METHODS])
def test_maps_do_not_depend_on_the_batch_and_leave_the_network_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network("vit_tiny_patch16_224" if name == "attention_rollout" else "test_resnet", 64)
    model.train()
    for p in model.body.parameters():
        p.requires_grad_(False)
    array = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3)).astype(np.uint8)
    subject = methods.ExplainedNetwork(model, CachedPixels(array), Preprocessing(size=64))
    rows, target = np.array([4, 0, 3]), np.array([0, 1, 2])
    monkeypatch.setattr(methods, "BATCH", 3)
    together = methods.maps_of(subject, name, rows, target)
    monkeypatch.setattr(methods, "BATCH", 1)
    alone = methods.maps_of(subject, name, rows, target)
    assert together.shape == (3, 64, 64)
    assert together.dtype == np.float32
    assert np.allclose(together, alone, atol=1e-4 * np.abs(together).max())
    assert np.isfinite(together).all()
    assert together.std() > 0
    assert model.training
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "head.1.weight",
        "head.1.bias",
    }


def test_one_sigmoid_unit_has_evidence_for_both_classes(image: torch.Tensor) -> None:
    settings = ModelSettings(name="test_resnet", pretrained=False, output="sigmoid")
    model = build(settings, InputSettings(size=64), 2).eval()
    images = torch.rand(2, 3, 64, 64)
    up = cam.cam_grid(model, images, torch.tensor([1, 1]))
    down = cam.cam_grid(model, images, torch.tensor([0, 0]))
    assert torch.allclose(up, -down, atol=1e-7)
    assert torch.allclose(up, cam.gradcam_grid(model, images, torch.tensor([1, 1])), atol=1e-6)
    assert float(up.abs().max()) > 0


def test_held_still_gives_back_modes_and_gradients() -> None:
    toy = toys.averaging().train()
    with held_still(toy):
        assert not toy.training
        assert not any(p.requires_grad for p in toy.parameters())
    assert toy.training
    assert all(p.requires_grad for p in toy.parameters())


def test_an_empty_request_gives_no_maps() -> None:
    subject = methods.ExplainedNetwork(toys.averaging(), SimpleNamespace(), Preprocessing())  # type: ignore[arg-type]
    none = np.zeros(0, np.int64)
    assert len(methods.maps_of(subject, "saliency", none, none)) == 0


@pytest.mark.parametrize("name", ["integrated_gradients", "occlusion", "smoothgrad", "saliency"])
def test_no_method_takes_more_images_at_once_than_are_asked_about(name: str) -> None:
    toy, seen = toys.averaging().eval(), []
    toy.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    images = torch.rand(methods.BATCH, 2, SIDE, SIDE)
    methods.METHODS[name].maps(toy, images, torch.zeros(methods.BATCH, dtype=torch.int64))
    assert max(seen) <= attribution.AT_ONCE == methods.BATCH
